"""Import: sources, one after the other, into a sink."""

from collections.abc import Callable, Sequence

from transfer.import_source import ImportSource
from transfer.sinks import ImportSink
from transfer.tally import Tally
from wire.errors import Malformed

Progress = Callable[[str, int, int], None]
"""Hears of the source's name, the bytes of all sources that are read, and all there are."""


def import_all(
    sources: Sequence[ImportSource], sink: ImportSink, tally: Tally, progress: Progress
) -> list[str]:
    """Imports *sources*; a text for each that could not be read to its end.

    What was sound before that point is imported. OSError and what the sink raises where nothing
    more can be written.
    """
    failures = []
    total = sum(source.size_bytes for source in sources)
    before = 0
    for source in sources:
        try:
            for page, done_bytes in source.pages():
                tally.refuse(page.refused, page.refusals, f"{source.name}: ")
                if page.batch.series_count:
                    sink.add(page.batch)
                progress(source.name, before + done_bytes, total)
        except Malformed as error:
            failures.append(f"{source.name}: {error}")
        before += source.size_bytes
    sink.finish()
    return failures

"""Target: one decoder, as the fuzzer calls it, and what its answers may cost."""

import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass

from series.batch import SeriesBatch
from series.labels import Labels
from tests.fuzz.mutate import Shape

Outcome = Hashable
"""What kind of answer an input got; inputs with a new one are kept to be changed further."""

_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"?|\'(?:[^\'\\]|\\.)*\'?|\{.*\}', re.S)
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Target:
    """A decoder.

    - ``read``: decodes an input, asserts what must hold of the answer and tells its outcome; of
      the decoder's exceptions it lets out only ``refusals``.
    - ``words``: what inputs are made of.
    - ``seconds``: processor time that an input may take; ``base_bytes`` and ``bytes_per_byte``:
      what it may allocate.
    """

    name: str
    read: Callable[[bytes], Outcome]
    refusals: tuple[type[Exception], ...]
    shape: Shape
    words: tuple[bytes, ...] = ()
    seconds: float = 5.0
    base_bytes: int = 4 << 20
    bytes_per_byte: int = 400

    def outcome(self, data: bytes) -> Outcome:
        """The outcome of *data*, also where it is refused; any other exception is a finding."""
        try:
            return self.read(data)
        except self.refusals as error:
            text = str(error)
            assert text, "a refusal without a reason"
            assert len(text) < 20_000 + 8 * len(data), "a refusal far longer than its input"
            return type(error).__name__, shape_of(text)


def shape_of(text: str) -> str:
    """A complaint without what it quotes."""
    return _NUMBER.sub("0", _QUOTED.sub("'", text))[:80]


def magnitude(number: int) -> int:
    """Counts that differ little are alike."""
    return number if number < 4 else 2 + int(number).bit_length()


def counted(counts: Mapping[str, int]) -> Outcome:
    """The kinds that were counted, and about how often."""
    return tuple(sorted((name, magnitude(count)) for name, count in counts.items()))


def check_batch(batch: SeriesBatch) -> list[Labels]:
    """Asserts every invariant of a batch on its way to the database; the labels of its rows."""
    batch.check()
    found = []
    for row in range(batch.series_count):
        key = batch.key(row)
        labels = Labels.from_key(key)
        assert labels.key == key, "the key is canonical"
        assert labels.metric, "every series has a name"
        found.append(labels)
    return found

"""Healing: what is done about damage once it was found.

What stands on disk twice is written anew, what stands in memory too is written elsewhere, and what
is lost is set apart so that the rest goes on. Damaged files go to quarantine.
"""

from contextlib import suppress
from dataclasses import replace

from series.ports import StorageError
from tsdb import quarantine
from tsdb.block.block import Block
from tsdb.damage import EXEMPLARS, INDEX, LOG, MANIFEST, Finding, Lost
from tsdb.manifest import BLOCKS_NAME, read_copies
from tsdb.sample import exemplar_file
from tsdb.sample.exemplar_file import Saved
from tsdb.state import State
from tsdb.view.part import PartLost


def heal(state: State) -> None:
    """One round: mends indexes from their copies, and sets blocks apart that are lost.

    OSError where the disk refuses; nothing is lost then, the next round tries again.
    """
    for block in state.blocks:
        if block.index_damage and not block.lost:
            _rewrite_index(state, block)
    _set_apart(state)


def _rewrite_index(state: State, block: Block) -> None:
    path = block.directory / "index"
    name = f"{block.directory.name}.index"
    if state.machine.files.exists(path):
        quarantine.keep_copy(state.directory, path, state.machine.files, name)
    try:
        block.rewrite_index()
    except StorageError as error:
        # It is in memory still; once it is not, the block is set apart.
        finding = Finding(INDEX, path, 0, f"it cannot be written anew: {error}")
        state.machine.cache.notes.note(finding)


def _set_apart(state: State) -> None:
    """Takes blocks of which nothing can be read out of the manifest, which remembers the loss.

    Losses that are older than the retention are forgotten.
    """
    gone = [block for block in state.blocks if block.lost]
    oldest_ms = state.oldest_ms
    known = tuple(one for one in state.manifest.lost if one.max_time_ms >= oldest_ms)
    if not gone and known == state.manifest.lost:
        return
    lost = tuple(
        Lost(
            f"{BLOCKS_NAME}/{block.directory.name}",
            block.min_time_ms,
            block.max_time_ms,
            block.lost,
        )
        for block in gone
    )
    kept = tuple(block for block in state.blocks if not block.lost)
    with state.commit:
        metas = tuple(block.meta for block in kept)
        state.save_manifest(replace(state.manifest, blocks=metas, lost=known + lost))
        with state.publish:
            state.blocks = kept
    for block in gone:
        block.remove_when_unused()


def mend(state: State, finding: Finding) -> None:
    """Does what can be done at once about damage that a scrub has found; ``heal`` does the rest.

    OSError where the disk refuses.
    """
    block = next((one for one in state.blocks if one.directory == finding.path.parent), None)
    if block is not None:
        if finding.frame >= 0:
            block.leave_out(finding)
        elif finding.is_loss:
            with suppress(PartLost):
                block.label_names(())
        elif finding.path.name == "index":
            _rewrite_index(state, block)
    elif finding.what == LOG:
        # Its samples are in memory, so they are sealed and the segment is needed no more.
        for segment in state.wal.segments:
            if segment.path == finding.path:
                segment.is_damaged = segment.is_doubtful = True
    elif finding.what == MANIFEST:
        with state.commit:
            for damage in read_copies(state.directory, state.machine.files).damage:
                quarantine.keep(state.directory, damage.path, state.machine.files)
            state.save_manifest(state.manifest)
    elif finding.what == EXEMPLARS:
        _save_exemplars(state)


def _save_exemplars(state: State) -> None:
    """Writes the damaged file of exemplars anew from memory."""
    files = state.machine.files
    with state.commit:
        state.wal.close_segment()
        saved = Saved(state.wal.last_number, state.exemplars.all())
        path = state.directory / exemplar_file.NAME
        if files.exists(path):
            quarantine.keep(state.directory, path, files)
        exemplar_file.save(state.directory, saved, files)
        state.exemplars_through = saved.through

"""The memory of the process: what the C library and the compiler keep that we can do without."""

import ctypes
from collections.abc import Iterator
from pathlib import Path

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_MADV_DONTNEED = 4
_ARENAS = 2
"""Of the C library. It would make one a thread, and each keeps what was freed in it."""
_KEPT_BYTES = 64 << 20
"""So much that was freed an arena keeps at its end: a query's arrays are as large every time, and
pages that are given back have to be cleared when they are asked for again."""
_MAPPED_BYTES = 32 << 20
"""Arrays from here on are mapped, and given back at once."""


def tune_malloc() -> None:
    """Lets threads share their memory and keep some; to be called before there are any.

    Not all systems can.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(_M_ARENA_MAX, _ARENAS)
        library.mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES)
        library.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def let_go_of_compiler() -> None:
    """Gives the pages with LLVM's code back to the system, about 50 MiB.

    It reads from its file again what is still called; kernels that are loaded do without.
    """
    library = ctypes.CDLL(None)
    for start, end, access, name in mappings():
        if "libllvmlite" in name and access == "r-xp":
            library.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _MADV_DONTNEED)


def mappings() -> Iterator[tuple[int, int, str, str]]:
    """(start, end, access, name) of what is mapped into this process; proc(5), ``/proc/pid/maps``.

    Systems without that file tell nothing.
    """
    maps = Path("/proc/self/maps")
    if not maps.exists():
        return
    for line in maps.read_text().splitlines():
        bounds, access, _, _, _, *name = line.split(maxsplit=5)
        start, end = (int(bound, 16) for bound in bounds.split("-"))
        yield start, end, access, "".join(name)

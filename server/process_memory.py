"""The memory of the process: what the C library and the compiler keep that we can do without."""

import ctypes
from pathlib import Path

_M_ARENA_MAX = -8
_MADV_DONTNEED = 4
_ARENAS = 2
"""Of the C library. It would make one a thread, and each keeps what was freed in it."""


def bound_arenas() -> None:
    """Lets threads share their memory; to be called before there are any. Not all systems can."""
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(_M_ARENA_MAX, _ARENAS)


def let_go_of_compiler() -> None:
    """Gives the pages with LLVM's code back to the system, about 50 MiB.

    It reads from its file again what is still called; kernels that are loaded do without.
    """
    maps = Path("/proc/self/maps")
    if not maps.exists():
        return
    library = ctypes.CDLL(None)
    for line in maps.read_text().splitlines():
        if "libllvmlite" in line and " r-xp " in line:
            start, end = (int(bound, 16) for bound in line.split(maxsplit=1)[0].split("-"))
            library.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _MADV_DONTNEED)

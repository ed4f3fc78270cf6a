"""Kernels that check every index: where one reads or writes outside of an array, IndexError.

Compiled kernels go wherever an index points to, so a fuzzer would not notice most stray reads. Here
the same kernels are compiled once more, with numba's own checks, with ``pointer`` and ``load_u64``
going through the array they stand for, and with negative indices refused rather than counted from
the end. They are cached beside the others, in a directory of their own.
"""

import hashlib
import os
import pathlib
import sys
from typing import Any

import numba
from numba.np import arrayobj

from series import jit


def check_kernels() -> None:
    """Every kernel that this process imports from now on checks its indices."""
    loaded = [name for name in sys.modules if name.endswith("kernels")]
    assert not loaded, f"too late, already imported: {loaded}"
    numba.config.BOUNDSCHECK = 1  # type: ignore[attr-defined]
    arrayobj.fix_integer_index = _index_as_it_is
    load = jit.load_u64

    def pointer(data: Any) -> Any:
        return data

    def load_u64(data: Any, at: Any) -> Any:
        if at < 0 or at + 8 > len(data):
            raise IndexError("load_u64 reaches outside of its array")
        return load(data, at)

    jit.pointer = jit.helper(pointer)
    jit.load_u64 = jit.helper(load_u64)
    version = hashlib.sha256(pathlib.Path(__file__).read_bytes()).hexdigest()[:16]
    root = next(jit._cache_roots())
    os.environ["O11Y_KERNEL_CACHE"] = str(root / f"checked-{version}")


def _index_as_it_is(context: Any, builder: Any, kind: Any, index: Any, size: Any) -> Any:
    """Stands for numba's function that adds *size* to negative indices."""
    del size
    return context.cast(builder, index, kind, numba.intp if kind.signed else numba.uintp)

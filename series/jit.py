"""The only door to numba.

A *kernel* is a function of plain arrays with one explicit signature, compiled without the GIL and
kept in a cache on disk. Kernels live in files named ``kernels.py`` (or ``*_kernels.py``); a callee
of a kernel is a ``helper`` of the same file, because numba does not notice when a callee elsewhere
changes. Floating point follows IEEE 754: division by zero is no error, nothing is reassociated.

The cache is a directory a source file, named by the hash of its text, below
``$O11Y_KERNEL_CACHE``, else the user's cache directory, else a temporary one.
"""

import fcntl
import hashlib
import os
import pathlib
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar, cast

import numba
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

F = TypeVar("F", bound=Callable[..., Any])

on_compiled: Callable[[str], None] = lambda name: None  # noqa: E731
"""Called with a kernel's name when it is ready; a progress bar replaces it."""


def kernel(signature: str) -> Callable[[F], F]:
    """Compiles the function below for *signature* (numba's notation), or loads it from the cache.

    ``i8 f8 u1 b1[:] f8[:, ::1]``: see numba's type names. Arrays in signatures are C-contiguous
    where written ``[::1]``; a caller passes exactly these types.
    """

    def compiled(function: F) -> F:
        directory = _cache_directory(function.__code__.co_filename)
        numba.config.CACHE_DIR = str(directory)  # type: ignore[attr-defined]
        with _locked(directory):
            made = numba.njit(signature, cache=True, nogil=True, error_model="numpy")(function)
        on_compiled(function.__name__)
        return cast(F, made)

    return compiled


def helper(function: F) -> F:
    """A callee of the kernels in its own file; compiled into them."""
    return cast(F, numba.njit(nogil=True, error_model="numpy")(function))


@intrinsic
def load_u64(typing_context: Any, data: Any, at: Any) -> Any:
    """``load_u64(data, at)``: the little-endian uint64 at any byte offset of a uint8 array.

    Only inside kernels; the caller keeps ``at + 8`` within the array.
    """
    del typing_context

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        address = builder.gep(array.data, [arguments[1]])
        word = builder.bitcast(address, ir.IntType(64).as_pointer())
        return builder.load(word, align=1)

    return types.uint64(data, types.intp), generate


@cache
def _cache_directory(source_file: str) -> pathlib.Path:
    text = pathlib.Path(source_file).read_bytes()
    version = hashlib.sha256(text + numba.__version__.encode()).hexdigest()[:16]
    name = f"{pathlib.Path(source_file).parent.name}-{pathlib.Path(source_file).stem}-{version}"
    for root in _cache_roots():
        try:
            (root / name).mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=root / name):
                return root / name
        except OSError:
            continue
    return pathlib.Path(tempfile.mkdtemp(prefix="o11y-kernels-"))


def _cache_roots() -> Iterator[pathlib.Path]:
    if chosen := os.environ.get("O11Y_KERNEL_CACHE"):
        yield pathlib.Path(chosen)
    if cache_home := os.environ.get("XDG_CACHE_HOME"):
        yield pathlib.Path(cache_home) / "hanzo-o11y"
    yield pathlib.Path("~/.cache/hanzo-o11y").expanduser()


@contextmanager
def _locked(directory: pathlib.Path) -> Iterator[None]:
    """One process at a time compiles into *directory*; the others then load what it made."""
    with open(directory / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield

"""The only door to numba.

A *kernel* is a function of plain arrays with one explicit signature, compiled without the GIL and
kept in a cache on disk. Kernels live in files named ``kernels.py`` (or ``*_kernels.py``); a callee
of a kernel is a ``helper`` of the same file, because numba does not notice when a callee elsewhere
changes. Floating point follows IEEE 754: division by zero is no error, nothing is reassociated.

The cache is a directory a source file, named by the hash of its text and this one's, below
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
from numba.core import cgutils, types
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
    """A callee of the kernels in its own file; inlined into them.

    A tight helper takes a ``pointer`` rather than an array: handing an array over counts
    references, which costs more than a few comparisons.
    """
    return cast(F, numba.njit(nogil=True, error_model="numpy", forceinline=True)(function))


def _pointer(typing_context: Any, data: Any) -> Any:
    del typing_context

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.make_array(signature.args[0])(context, builder, arguments[0]).data

    return types.CPointer(types.uint8)(data), generate  # type: ignore[no-untyped-call]


pointer: Callable[[Any], Any] = cast(Any, intrinsic(_pointer))
"""``pointer(data)``: the address of a uint8 array, indexable like it but without its length.

Only inside kernels; the array must stay in scope.
"""


def _load_u64(typing_context: Any, data: Any, at: Any) -> Any:
    del typing_context

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        start = arguments[0]
        if isinstance(signature.args[0], types.Array):
            start = context.make_array(signature.args[0])(context, builder, start).data
        address = builder.gep(start, [arguments[1]])
        word = builder.bitcast(address, ir.IntType(64).as_pointer())
        return builder.load(word, align=1)

    return types.uint64(data, types.intp), generate


load_u64: Callable[[Any, Any], Any] = cast(Any, intrinsic(_load_u64))
"""``load_u64(data, at)``: the little-endian uint64 at any byte offset of a uint8 array or pointer.

Only inside kernels; the caller keeps ``at + 8`` within the array.
"""


def _fold_u64(typing_context: Any, a: Any, b: Any) -> Any:
    del typing_context, a, b

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        del context, signature
        wide = ir.IntType(128)
        product = builder.mul(*(builder.zext(argument, wide) for argument in arguments))
        high = builder.lshr(product, ir.Constant(wide, 64))
        return builder.trunc(builder.xor(product, high), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), generate


fold_u64: Callable[[Any, Any], Any] = cast(Any, intrinsic(_fold_u64))
"""``fold_u64(a, b)``: the xor of both halves of the 128-bit product; only inside kernels."""


def _prefetch(typing_context: Any, array: Any, at: Any) -> Any:
    del typing_context

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        address = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(8).as_pointer())
        flag = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [address.type, flag, flag, flag])
        function = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
            builder.module, kind, "llvm.prefetch.p0"
        )
        builder.call(function, [address, flag(1), flag(3), flag(1)])
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


prefetch: Callable[[Any, Any], Any] = cast(Any, intrinsic(_prefetch))
"""``prefetch(array, at)``: begins to load element *at*, counted through all dimensions of a
C-contiguous array, into the cache; only inside kernels.
"""


@cache
def _cache_directory(source_file: str) -> pathlib.Path:
    text = pathlib.Path(source_file).read_bytes() + pathlib.Path(__file__).read_bytes()
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

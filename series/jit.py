"""The only door to numba.

A *kernel* is a function of plain arrays with one explicit signature, compiled without the GIL and
kept in a cache on disk. Kernels live in files named ``kernels.py`` (or ``*_kernels.py``); a callee
of a kernel is a ``helper`` of the same file or of a ``*_helpers.py`` that the file imports by
``from room.name_helpers import``: numba does not notice when a callee elsewhere changes. Floating
point follows IEEE 754: division by zero is no error, nothing is reassociated.

The cache is a directory a source file, named by the hash of its text, of all its helpers' and this
one's, below ``$O11Y_KERNEL_CACHE``, else the user's cache directory, else a temporary one.
Importing a file of kernels compiles those that are not in the cache. The others, some
milliseconds each, are loaded when they are first called, or by ``load_all``.
"""

import fcntl
import hashlib
import os
import pathlib
import re
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar, cast

import numba
from llvmlite import binding, ir
from numba.core import cgutils, types
from numba.core.compiler_lock import global_compiler_lock
from numba.core.runtime.nrt import rtsys
from numba.extending import intrinsic

F = TypeVar("F", bound=Callable[..., Any])

_ROOT = pathlib.Path(__file__).parent.parent
_HELPERS_IMPORT = re.compile(rb"\nfrom (\w+)\.(\w+_helpers) import")

on_compiled: Callable[[str], None] = lambda name: None  # noqa: E731
"""Called with a kernel's name once it is in the cache; a progress bar replaces it."""


def kernel(signature: str) -> Callable[[F], F]:
    """Compiles the function below for *signature* (numba's notation), unless the cache has it.

    ``i8 f8 u1 b1[:] f8[:, ::1]``: see numba's type names. Arrays in signatures are C-contiguous
    where written ``[::1]``; a caller passes exactly these types.
    """

    def declared(function: F) -> F:
        made = _Kernel(function, signature)
        callable_ = made if made.is_cached() else made.load()
        on_compiled(function.__name__)
        return cast(F, callable_)

    return declared


def load_all() -> None:
    """Loads every kernel that was not called yet; one after the other, safe beside calls."""
    for waiting in _cached.copy():
        waiting.load()


class _Kernel:
    """A kernel in the cache; it gives way to the compiled function at its first call."""

    def __init__(self, function: Callable[..., Any], signature: str) -> None:
        self._function = function
        self._signature = signature
        self._directory = _cache_directory(function.__code__.co_filename)
        self._made: Callable[..., Any] | None = None

    def __call__(self, *arguments: Any) -> Any:
        made = self._made
        return made(*arguments) if made is not None else self.load()(*arguments)

    def is_cached(self) -> bool:
        """Whether ``load`` will be quick."""
        cached = self._marker().exists()
        if cached:
            _cached.append(self)
        return cached

    def load(self) -> Callable[..., Any]:
        """The compiled function, from the cache where it is there."""
        function = self._function
        with _loading:
            if self._made is None:
                numba.config.CACHE_DIR = str(self._directory)  # type: ignore[attr-defined]
                self._made = cast(Callable[..., Any], self._compiled())
                if function.__globals__.get(function.__name__) is self:
                    function.__globals__[function.__name__] = self._made
            if self in _cached:
                _cached.remove(self)
            return self._made

    def _compiled(self) -> Any:
        """From the cache where it is there: then nobody who compiles keeps us waiting."""
        made = numba.njit(nogil=True, error_model="numpy")(self._function)
        if not self._marker().exists():
            with _locked(self._directory):
                if not self._marker().exists():
                    _hand_over(self._function)
                    made.compile(self._signature)
                    _save(made, self._signature)
                    self._marker().touch()
        if not made.overloads and not _load(made, self._signature):
            _hand_over(self._function)
            made.compile(self._signature)
        made.disable_compile()
        return made

    def _marker(self) -> pathlib.Path:
        """The file that stands for what numba cached; numba goes by a source's path and time."""
        code = self._function.__code__
        status = os.stat(code.co_filename)
        source = f"{code.co_filename} {status.st_mtime_ns} {status.st_size} {code.co_firstlineno}"
        digest = hashlib.sha256(f"{source} {self._signature} {_machine()}".encode()).hexdigest()
        return self._directory / f"{self._function.__name__}-{digest[:16]}"


def _save(made: Any, signature: str) -> None:
    """Puts what was compiled into the cache, without what only takes time and memory to load.

    That is the second form that numba keeps for callers which would inline it, as no kernel calls
    another one: what stands in its place only names the functions, which are looked for there.
    And it is the environments without constants, whose modules would have to be imported.
    """
    made.enable_caching()
    cache = made._cache
    for overload in made.overloads.values():
        about = overload.fndesc
        names = (about.llvm_func_name, about.llvm_cpython_wrapper_name)
        stubs = "\n".join(f'define void @"{name}"() {{ ret void }}' for name in names)
        overload.library._shared_module = binding.parse_assembly(stubs)
        if cache._impl.check_cachable(overload):
            cache._impl.locator.ensure_cache_path()
            *parts, environments = cache._impl.reduce(overload)
            parts.append(tuple(one for one in environments if one.consts))
            cache._cache_file.save(cache._index_key(signature, overload.codegen), tuple(parts))


def _load(made: Any, signature: str) -> bool:
    """Takes from the cache what ``_save`` has put there; whether numba finds it.

    ``made.compile`` would do so, too, but import before all that one can compile with.
    """
    made.enable_caching()
    with global_compiler_lock:
        rtsys.initialize(made.targetctx)
        overload = made._cache._load_overload(signature, made.targetctx)
        if overload is not None:
            made.add_overload(overload)
    return overload is not None


_loading = threading.RLock()
_cached: list[_Kernel] = []
"""The kernels that are in the cache and not loaded."""


@cache
def _machine() -> str:
    features = binding.get_host_cpu_features().flatten()
    return f"{sys.version} {binding.get_host_cpu_name()} {features}"


class _Helper:
    """A callee of kernels; numba hears of it when the first of them is compiled."""

    def __init__(self, function: Callable[..., Any], *, is_inlined: bool) -> None:
        self.py_func = function
        self._is_inlined = is_inlined
        self._made: Callable[..., Any] | None = None

    def __call__(self, *arguments: Any) -> Any:
        return self.made()(*arguments)

    def made(self) -> Callable[..., Any]:
        """The function as numba knows it."""
        with _loading:
            if self._made is None:
                declared = numba.njit(nogil=True, error_model="numpy", forceinline=self._is_inlined)
                self._made = cast(Callable[..., Any], declared(self.py_func))
                _hand_over(self.py_func)
            return self._made


def _hand_over(function: Callable[..., Any]) -> None:
    """Lets numba see the helpers that *function* sees."""
    names = function.__globals__
    for name, value in names.copy().items():
        if isinstance(value, _Helper):
            names[name] = value.made()


def helper(function: F) -> F:
    """A callee of the kernels in its own file; inlined into them.

    A tight helper takes a ``pointer`` rather than an array: handing an array over counts
    references, which costs more than a few comparisons.
    """
    return cast(F, _Helper(function, is_inlined=True))


def callee(function: F) -> F:
    """A callee that stays a function of its own: for long ones, which compile once for all kernels.

    A call costs some hundred nanoseconds where many arrays are handed over.
    """
    return cast(F, _Helper(function, is_inlined=False))


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


def _bytes_pointer(typing_context: Any, address: Any) -> Any:
    del typing_context

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(types.uint8)(address), generate  # type: ignore[no-untyped-call]


_pointer_to: Any = intrinsic(_bytes_pointer)


@helper
def bytes_at(address: Any, size: Any) -> Any:
    """The *size* bytes at *address* as an array, whose owner the caller of the kernel holds.

    Only inside kernels: for arrays of arrays, which would have to be joined else.
    """
    return numba.carray(_pointer_to(address), size)  # type: ignore[attr-defined]


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
    text = pathlib.Path(source_file).read_bytes()
    helpers = _HELPERS_IMPORT.findall(text)
    for room, name in helpers:  # It grows: they have helpers, too.
        more = (_ROOT / room.decode() / f"{name.decode()}.py").read_bytes()
        helpers += [one for one in _HELPERS_IMPORT.findall(more) if one not in helpers]
        text += more
    text += pathlib.Path(__file__).read_bytes()
    version = hashlib.sha256(text + numba.__version__.encode()).hexdigest()[:16]
    name = f"{pathlib.Path(source_file).parent.name}-{pathlib.Path(source_file).stem}-{version}"
    for root in _cache_roots():
        try:
            (root / name).mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(root / name, os.W_OK):
            return root / name
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

"""What makes a start quick before anything else is imported."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import cache_from_source
from pathlib import Path

from series.user_cache import user_cache

_RARE = 200_000
"""As many objects are made between two collections; a start makes about as many that stay."""
_USUAL = gc.get_threshold()


def keep_bytecode() -> None:
    """Has Python keep bytecode in the user's cache, where it keeps none beside our sources.

    That is where it is told not to (``PYTHONDONTWRITEBYTECODE``) or may not write there. To
    compile all modules takes as long as all else of a start.
    """
    if sys.pycache_prefix is not None or Path(cache_from_source(__file__)).exists():
        return
    if (cache := user_cache()) is not None:
        sys.pycache_prefix = str(cache / "bytecode")
        sys.dont_write_bytecode = False


@contextmanager
def rare_collections() -> Iterator[None]:
    """While modules are imported: what they make stays, and looking for garbage finds none.

    No collection looks at it later either.
    """
    gc.set_threshold(_RARE, *_USUAL[1:])
    try:
        yield
    finally:
        gc.freeze()
        usual_collections()


def usual_collections() -> None:
    """As often as Python looks for garbage by itself; to compile kernels leaves much of it."""
    gc.set_threshold(*_USUAL)

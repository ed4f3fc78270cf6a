"""Again: questions that came before in other times, and what was found out about them."""

from typing import Any

from server.api.params import Params
from server.api.shapes import shape_of
from server.call import Call


def asked_again(call: Call, names: tuple[bytes, ...]) -> tuple[Any, list[str]] | None:
    """What was remembered of the question but for the values of *names*, and these as texts.

    A name is that of a parameter with its ``=``. None where there is nothing.
    """
    shape = shape_of(call.request.scope, names)
    known = None if shape is None else call.house.shapes.get(shape[0])
    return None if shape is None or known is None else (known, shape[1])


def remember(call: Call, params: Params, asked: object, names: tuple[bytes, ...]) -> None:
    """Remembers what is *asked* for questions that have other values of *names* only."""
    shape = shape_of(call.request.scope, names)
    if shape is not None and all(
        params.all(name[:-1].decode()) == [value]
        for name, value in zip(names, shape[1], strict=True)
    ):
        call.house.shapes.put(shape[0], asked)

"""Immutable: dataclasses whose fields mypy, not Python, keeps from being changed.

A dataclass that is frozen sets its fields one by one in a roundabout way when it is made, which
takes a microsecond for seven. What a narrow query makes on its way is a dozen of such objects.
"""

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def immutable(cls: type[T]) -> type[T]:
    """Makes *cls* a dataclass with slots, compared and hashed by its fields, for types that are
    made often."""
    return dataclass(slots=True, unsafe_hash=True)(cls)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def immutable_by_name(cls: type[T]) -> type[T]:
    """The same for types of which every field is named when one is made."""
    return dataclass(slots=True, unsafe_hash=True, kw_only=True)(cls)

"""Keys name the fields of a record; comparing a key with a value writes a filter for `Search`.

K("year") > 1999                          a filter on a metadata field
K.DOCUMENT.contains("whale")              … on the text
(K("year") > 1999) & (K("lang") == "en")  … combined
~K("author.name").starts_with("A")        … and turned round
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from vermilion.errors import ArgumentTypeError
from vermilion.query.predicates import (
    MAX_DEPTH,
    And,
    Contains,
    Eq,
    Form,
    Gt,
    Gte,
    In,
    Lt,
    Lte,
    Ne,
    Nin,
    Not,
    NotContains,
    NotRegex,
    Or,
    Passes,
    Regex,
    Scalar,
    Where,
    inside,
    one_entry,
    refuse_unknown,
    require_dict,
    type_name,
)

__all__ = (
    "MAX_DEPTH", "And", "Contains", "Eq", "Form", "Gt", "Gte", "In", "K", "Key", "Lt", "Lte", "Ne",
    "Nin", "Not", "NotContains", "NotRegex", "Or", "Passes", "Regex", "Where", "key_name",
    "inside", "key_names", "one_entry", "refuse_unknown", "require_dict", "type_name",
)  # fmt: skip


class Key:
    """The name of a field of a record; comparing it with a value makes a filter.

    A name that starts with "#" is a part of every record and has a constant here; any other name
    is a metadata field. Two keys are equal when their names are.

    >>> (K("year") > 1999).to_dict()
    {'year': {'$gt': 1999}}
    """

    __slots__ = ("name",)

    ID: ClassVar[Key]
    DOCUMENT: ClassVar[Key]
    EMBEDDING: ClassVar[Key]
    METADATA: ClassVar[Key]
    SCORE: ClassVar[Key]

    def __init__(self, name: str) -> None:
        if not isinstance(name, str):
            raise ArgumentTypeError(f"Key name must be a str, got {type_name(name)}")
        self.name = name

    def __repr__(self) -> str:
        return f"K({self.name!r})"

    def __hash__(self) -> int:
        return hash(self.name)

    # Chroma makes a filter of two keys as well. That filter could not be sent, and because it is
    # truthy, all keys would look equal.
    def __eq__(self, other: object) -> Any:
        return self.name == other.name if isinstance(other, Key) else Eq(self.name, other)

    def __ne__(self, other: object) -> Any:
        return self.name != other.name if isinstance(other, Key) else Ne(self.name, other)

    def __gt__(self, value: float) -> Where:
        return Gt(self.name, value)

    def __ge__(self, value: float) -> Where:
        return Gte(self.name, value)

    def __lt__(self, value: float) -> Where:
        return Lt(self.name, value)

    def __le__(self, value: float) -> Where:
        return Lte(self.name, value)

    def is_in(self, values: list[Any] | tuple[Any, ...] | set[Any]) -> Where:
        """Returns the filter for records whose field equals one of the values."""
        return In(self.name, _values(values))

    def not_in(self, values: list[Any] | tuple[Any, ...] | set[Any]) -> Where:
        """Returns the filter for records whose field equals none of the values."""
        return Nin(self.name, _values(values))

    def regex(self, pattern: str) -> Where:
        """Returns the filter for records whose text matches the pattern somewhere."""
        return Regex(self.name, pattern)

    def not_regex(self, pattern: str) -> Where:
        """Returns the filter for records whose text matches the pattern nowhere."""
        return NotRegex(self.name, pattern)

    def contains(self, value: Scalar) -> Where:
        """Returns the filter for records whose text contains the string, or list the element."""
        return Contains(self.name, value)

    def not_contains(self, value: Scalar) -> Where:
        """Returns the filter for records whose text or list does not contain the value."""
        return NotContains(self.name, value)

    # What is none of Chroma's.

    def exists(self, there: bool = True) -> Where:
        """Returns the filter for records that have the field, or that do not."""
        return Passes(self.name, "$exists", there)

    def between(self, low: Any, high: Any) -> Where:
        """Returns the filter for records whose field lies between two values, or is one of them."""
        return Passes(self.name, "$between", [low, high])

    def starts_with(self, text: str, *, any_case: bool = False) -> Where:
        """Returns the filter for records whose text starts with this one."""
        return Passes(self.name, "$istarts_with" if any_case else "$starts_with", text)

    def ends_with(self, text: str, *, any_case: bool = False) -> Where:
        """Returns the filter for records whose text ends with this one."""
        return Passes(self.name, "$iends_with" if any_case else "$ends_with", text)

    def icontains(self, text: str) -> Where:
        """Returns the filter for records whose text holds this one in any case."""
        return Passes(self.name, "$icontains", text)

    def contains_all(self, values: list[Any] | tuple[Any, ...] | set[Any]) -> Where:
        """Returns the filter for records whose list has all of the elements."""
        return Passes(self.name, "$all", _values(values))

    def size(self, count: int) -> Where:
        """Returns the filter for records whose list has so many elements."""
        return Passes(self.name, "$size", count)


Key.ID = Key("#id")
Key.DOCUMENT = Key("#document")
Key.EMBEDDING = Key("#embedding")
Key.METADATA = Key("#metadata")
Key.SCORE = Key("#score")
K = Key


def _values(values: object) -> Any:
    """A list of the values; what is not a collection is left for the filter to refuse."""
    return list(values) if isinstance(values, tuple | set | frozenset) else values


def key_name(key: Key | str, noun: str) -> str:
    """The name of a key that may be given as a Key or as its name."""
    if isinstance(key, Key):
        return key.name
    if isinstance(key, str):
        return key
    raise ArgumentTypeError(f"{noun} must be a string or a Key, got {type_name(key)}")


def key_names(keys: Key | str | Iterable[Key | str], noun: str) -> list[str]:
    """The names of one key or of several."""
    several = [keys] if isinstance(keys, Key | str) else keys
    if not isinstance(several, list | tuple | set | frozenset):
        raise ArgumentTypeError(f"{noun} keys must be a list/tuple/set, got {type_name(keys)}")
    return [key_name(key, f"{noun} key") for key in several]

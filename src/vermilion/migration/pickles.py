"""Reads the data in a pickle without running it.

Loading a pickle runs whatever it names. Here its opcodes are only listed, and those that build
numbers, strings, lists and dicts are followed; a class is a name that nobody looks up, and the
state of its instance counts as the instance. What is left of a damaged one comes out, too.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from typing import Any, NamedTuple


class Unpickled(NamedTuple):
    """What was read; `flaw` tells why it is not all, or is None."""

    value: Any
    flaw: str | None


class _Named:
    """In the place of a class, or of an instance of which no state is known."""


class _Machine:
    """The stack, the marks and the memo of a pickle."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def since_mark(self) -> list[Any]:
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict):
            raise ValueError("items of something that is no dict")
        for place in range(0, len(items) - 1, 2):
            target[items[place]] = items[place + 1]

    def collect(self) -> None:
        """A dict of the items since the mark."""
        items = self.since_mark()
        self.stack.append({})
        self.set_items(items)

    def append(self, items: list[Any]) -> None:
        self.stack[-1].extend(items)

    def name(self, count: int) -> None:
        """Something that would be looked up or called."""
        if count:
            del self.stack[-count:]
        self.stack.append(_Named())

    def build(self) -> None:
        """An instance gets its state: from now on the state stands for it."""
        state = self.stack.pop()
        self.stack[-1] = state

    def gather(self) -> Any:
        """What an unfinished pickle was about to put together."""
        while self.marks:
            items = self.since_mark()
            if self.stack and isinstance(self.stack[-1], dict):
                self.set_items(items)
        while len(self.stack) > 1:
            value, key = self.stack.pop(), self.stack.pop()
            if self.stack and isinstance(self.stack[-1], dict) and isinstance(key, str):
                self.stack[-1][key] = value
            elif isinstance(value, dict):
                self.stack.append(value)
        return self.stack[0] if self.stack else None


Step = Callable[[_Machine, Any], Any]


def _push(machine: _Machine, argument: Any) -> None:
    machine.stack.append(argument)


def _tuple(count: int) -> Step:
    def step(machine: _Machine, _: Any) -> None:
        items = machine.stack[len(machine.stack) - count :]
        del machine.stack[len(machine.stack) - count :]
        machine.stack.append(tuple(items))

    return step


def _constant(make: Callable[[], Any]) -> Step:
    return lambda machine, _: machine.stack.append(make())


def _memoize(machine: _Machine, argument: Any) -> None:
    machine.memo[len(machine.memo) if argument is None else argument] = machine.stack[-1]


def _recall(machine: _Machine, argument: Any) -> None:
    machine.stack.append(machine.memo[argument])


_PUSHED = (
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT UNICODE BINUNICODE "
    "SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8"
)
_STEPS: dict[str, Step] = {
    **dict.fromkeys(_PUSHED.split(), _push),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), _memoize),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _recall),
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), lambda machine, _: None),
    "NONE": _constant(lambda: None),
    "NEWTRUE": _constant(lambda: True),
    "NEWFALSE": _constant(lambda: False),
    "EMPTY_DICT": _constant(dict),
    "EMPTY_LIST": _constant(list),
    "EMPTY_TUPLE": _constant(tuple),
    "TUPLE1": _tuple(1),
    "TUPLE2": _tuple(2),
    "TUPLE3": _tuple(3),
    "MARK": lambda machine, _: machine.marks.append(len(machine.stack)),
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine.since_mark())),
    "LIST": lambda machine, _: machine.stack.append(machine.since_mark()),
    "DICT": lambda machine, _: machine.collect(),
    "SETITEM": lambda machine, _: machine.set_items([machine.stack.pop(-2), machine.stack.pop()]),
    "SETITEMS": lambda machine, _: machine.set_items(machine.since_mark()),
    "APPEND": lambda machine, _: machine.append([machine.stack.pop()]),
    "APPENDS": lambda machine, _: machine.append(machine.since_mark()),
    "POP": lambda machine, _: machine.stack.pop(),
    "GLOBAL": lambda machine, _: machine.name(0),
    "STACK_GLOBAL": lambda machine, _: machine.name(2),
    "NEWOBJ": lambda machine, _: machine.name(2),
    "REDUCE": lambda machine, _: machine.name(2),
    "BUILD": lambda machine, _: machine.build(),
}


def read_pickle(data: bytes) -> Unpickled:
    """The data of a pickle, as far as it can be read.

    >>> import pickle
    >>> read_pickle(pickle.dumps({"one": [1, 2.5], "two": None})).value
    {'one': [1, 2.5], 'two': None}
    """
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(data):
            step = _STEPS.get(opcode.name)
            if step is None:
                raise ValueError(f"an opcode that data does not need: {opcode.name}")
            step(machine, argument)
        return Unpickled(machine.stack[-1], None)
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        flaw = str(error) or type(error).__name__
    try:
        return Unpickled(machine.gather(), flaw)
    except (ValueError, IndexError, KeyError, TypeError, AttributeError):
        return Unpickled(None, flaw)

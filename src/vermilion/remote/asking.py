"""The part of the remote engine that speaks to the server, and knows what it can do."""

from __future__ import annotations

from typing import TypeVar

from vermilion.errors import InternalError, InvalidArgumentError, NotFoundError, UnsupportedError
from vermilion.query.where import Filter, beyond
from vermilion.remote.refusals import refusal
from vermilion.remote.transport import Transport
from vermilion.wire import care, system
from vermilion.wire.operation import Operation
from vermilion.wire.system import PreFlight
from vermilion.wire.text import loads

A = TypeVar("A")


class Asking:
    """What `RemoteEngine` inherits."""

    def __init__(self, transport: Transport) -> None:
        """Speaks through the transport, which it closes in the end."""
        self._transport = transport
        self._limits: PreFlight | None = None
        self._extensions: frozenset[str] | None = None

    def _ask(self, operation: Operation[A]) -> A:
        """What the server answers. Raises the error that a refusal means."""
        call = operation.call()
        answer = self._transport.send(call)
        if answer.status >= 300:
            raise refusal(answer, self._transport.target.url)
        try:
            return operation.from_json(loads(answer.body))
        except (InvalidArgumentError, KeyError, TypeError, ValueError) as error:
            raise InternalError(
                f"The answer of the server at {self._transport.target.url} to {call.method} "
                f"{call.path} cannot be read: {error!r}"
            ) from error

    def _preflight(self) -> PreFlight:
        """What the server says once of its limits."""
        if self._limits is None:
            self._limits = self._ask(system.PreFlightChecks())
        return self._limits

    # ── what only Vermilion's servers can do ─────────────────────────────────────────────────────

    def _ask_ours(self, operation: Operation[A]) -> A:
        self._need(operation.route.path.rpartition("/")[2])
        return self._ask(operation)

    def _need(self, what: str, wanted: bool | str | None = True) -> None:
        """Raises UnsupportedError if this is wanted and the server cannot do it.

        A text tells what wants it.
        """
        if wanted and not self._can(what):
            why = f" ({wanted})" if isinstance(wanted, str) else ""
            raise UnsupportedError(
                f"The server at {self._transport.target.url} cannot do {what!r}{why}: it is one "
                "of Chroma, and only Vermilion's can"
            )

    def _need_filter(self, filter: Filter | None) -> None:
        """Raises UnsupportedError for a filter that the server would not understand."""
        self._need("filters", None if filter is None else beyond(filter))

    def _can(self, what: str) -> bool:
        if self._extensions is None:
            try:
                self._extensions = self._ask(care.GetExtensions())
            except NotFoundError:
                self._extensions = frozenset()
        return what in self._extensions

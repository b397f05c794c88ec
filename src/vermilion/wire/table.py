"""The HTTP API v2: every operation there is, and how a request finds its own.

    Routes().find("POST", "/tenants/t/databases/d/collections/…/get")

The server, the clients, the OpenAPI document and the table in docs/ all read OPERATIONS.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from vermilion.wire import absent, bulk, care, collections, past, ranked, records, system
from vermilion.wire.operation import Operation

Kind = type[Operation[Any]]

OPERATIONS: tuple[Kind, ...] = (
    system.Heartbeat,
    system.HeartbeatAlias,
    system.Healthcheck,
    system.Version,
    system.PreFlightChecks,
    system.Identity,
    system.Reset,
    care.GetExtensions,
    care.Check,
    system.CreateTenant,
    system.GetTenant,
    system.UpdateTenant,
    system.ListDatabases,
    system.CreateDatabase,
    system.GetDatabase,
    system.DeleteDatabase,
    collections.CreateCollection,
    collections.ListCollections,
    collections.CountCollections,
    collections.GetCollectionById,
    collections.GetCollectionByCrn,
    collections.GetCollection,
    collections.ModifyCollection,
    collections.DeleteCollection,
    collections.ForkCollection,
    care.SwitchVectors,
    absent.CountForks,
    records.Add,
    records.Upsert,
    records.Update,
    records.Delete,
    bulk.UpdateWhere,
    records.Get,
    bulk.GetPage,
    records.Query,
    ranked.Count,
    ranked.CountSelected,
    ranked.Search,
    ranked.Facets,
    ranked.Summarize,
    past.History,
    past.Past,
    past.Differ,
    past.Undo,
    care.GetIndexingStatus,
    care.Explain,
    care.ExplainAbsence,
    care.Flush,
    care.GetStats,
    care.Compact,
    absent.AttachFunction,
    absent.GetAttachedFunction,
    absent.DetachFunction,
)

# What the last part of a path is called differs from method to method: an id or a name.
_ANY = "*"


# Paths that have been looked up: most requests are about a few collections.
REMEMBERED = 1_024


class _Node:
    """One step of a path: what may follow, and the operations that end here."""

    def __init__(self) -> None:
        self.next: dict[str, _Node] = {}
        self.ends: dict[str, tuple[Kind, tuple[str, ...]]] = {}


class Routes:
    """Finds the operation of a request."""

    def __init__(self) -> None:
        self._root = _Node()
        self._found: dict[tuple[str, str], tuple[Kind, dict[str, str]]] = {}
        for kind in OPERATIONS:
            node, names = self._root, []
            for step in kind.route.path.split("/"):
                if step.startswith("{"):
                    names.append(step[1:-1])
                    step = _ANY
                node = node.next.setdefault(step, _Node())
            node.ends[kind.route.method] = kind, tuple(names)

    def find(self, method: str, path: str) -> tuple[Kind, dict[str, str]] | None:
        """The operation and the parts of its path; the path is below API, percent-encoded."""
        known = self._found.get((method, path))
        if known is not None:
            return known
        found = _walk(self._root, path.split("/"), 0)
        if found is None or method not in found[0].ends:
            return None
        node, parts = found
        kind, names = node.ends[method]
        known = kind, {name: unquote(part) for name, part in zip(names, parts, strict=True)}
        if len(self._found) == REMEMBERED:
            self._found.clear()
        self._found[method, path] = known
        return known

    def methods(self, path: str) -> list[str]:
        """The methods that a path has; none where there is no such path."""
        found = _walk(self._root, path.split("/"), 0)
        return [] if found is None else [*found[0].ends]


def _walk(node: _Node, steps: list[str], at: int) -> tuple[_Node, list[str]] | None:
    """Where the steps from `at` on lead, and those of them that differ from request to request."""
    if at == len(steps):
        return (node, []) if node.ends else None
    known = node.next.get(steps[at])
    found = None if known is None else _walk(known, steps, at + 1)
    if found is None and steps[at] and (other := node.next.get(_ANY)) is not None:
        found = _walk(other, steps, at + 1)
        if found is not None:
            return found[0], [steps[at], *found[1]]
    return found

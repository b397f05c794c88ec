"""How much one request may ask for."""

from __future__ import annotations

from typing import Any

from vermilion.errors import BatchSizeExceededError, InvalidArgumentError
from vermilion.server.settings import ServerSettings
from vermilion.wire import ranked, records
from vermilion.wire.operation import Operation


class Limits:
    """The limits of one server."""

    def __init__(self, settings: ServerSettings, engine_takes: int) -> None:
        self.max_batch_size = min(settings.max_batch_size, engine_takes)
        self._results = settings.max_results
        self._queries = settings.max_queries

    def check(self, operation: Operation[Any]) -> None:
        """Raises an error for a request that asks for too much."""
        if isinstance(operation, records.Write):
            self._check_batch(len(operation.batch))
        elif isinstance(operation, records.Question):
            self._check_question(len(operation.vectors), operation.k)
        elif isinstance(operation, ranked.Search):
            self._check_searches(len(operation.searches))

    def _check_batch(self, size: int) -> None:
        if size > self.max_batch_size:
            raise BatchSizeExceededError(
                f"Batch size {size} exceeds maximum batch size {self.max_batch_size}"
            )

    def _check_searches(self, searches: int) -> None:
        if searches > self._queries:
            raise InvalidArgumentError(f"Expected at most {self._queries} searches, got {searches}")

    def _check_question(self, queries: int, k: int) -> None:
        if queries > self._queries:
            raise InvalidArgumentError(
                f"Expected at most {self._queries} query embeddings, got {queries}"
            )
        if k > self._results:
            raise InvalidArgumentError(f"Expected n_results to be at most {self._results}, got {k}")

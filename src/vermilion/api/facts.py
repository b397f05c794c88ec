"""What a collection tells of itself without asking anybody, for handles of both kinds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any
from uuid import UUID

from vermilion.embeddings.lookup import config_to_embedding_function
from vermilion.engine import CollectionInfo

if TYPE_CHECKING:
    from vermilion.schema.builder import Schema


class CollectionFacts(ABC):
    """The properties of a handle, as of the moment when the collection was fetched."""

    @abstractmethod
    def get_model(self) -> CollectionInfo:
        """Returns all that is known of it."""

    @property
    def id(self) -> UUID:
        """The id, which a rename leaves alone."""
        return self.get_model().id

    @property
    def name(self) -> str:
        """The name."""
        return self.get_model().name

    @property
    def metadata(self) -> dict[str, Any] | None:
        """The collection's own metadata."""
        return self.get_model().metadata

    @property
    def tenant(self) -> str:
        """The tenant it belongs to."""
        return self.get_model().tenant

    @property
    def database(self) -> str:
        """The database it belongs to."""
        return self.get_model().database

    @property
    def configuration_json(self) -> dict[str, Any]:
        """The configuration as plain values."""
        return self.get_model().configuration.to_json()

    @property
    def configuration(self) -> dict[str, Any]:
        """The configuration, with the embedding function as an object.

        Raises ValueError when that function is not registered in this process.
        """
        stored = self.get_model().configuration.embedding_function
        known = stored is not None and stored["type"] == "known"
        return self.configuration_json | {
            "embedding_function": config_to_embedding_function(stored) if known and stored else None
        }

    @property
    def schema(self) -> Schema:
        """The indexes: a Schema, made anew each time."""
        from vermilion.api import schemas  # with the Schema classes, which few programs need

        return schemas.of_collection(self.get_model())

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name})"

"""AdminClient: a door to tenants and databases."""

from __future__ import annotations

from typing import Any

from vermilion.api.servers import lease_for
from vermilion.api.settings import Settings
from vermilion.api.sharing import Lease, Leasing
from vermilion.names import check_database_name, check_tenant_name
from vermilion.records import check_count
from vermilion.types import DEFAULT_TENANT, Database


class AdminClient(Leasing):
    """A door to tenants and databases."""

    def __init__(self, settings: Settings | None = None, *, lease: Lease | None = None) -> None:
        """Opens what the settings name: a server, a directory if persistent, else the memory.

        A `lease` is a hold on something that is open already.
        """
        self._lease = lease or lease_for(settings or Settings())

    @classmethod
    def from_system(cls, system: Any) -> AdminClient:
        """Returns a door to the database that `system.settings` name."""
        return cls(system.settings)

    def create_tenant(self, name: str) -> None:
        """Creates a tenant. Raises AlreadyExistsError."""
        self._lease.engine().create_tenant(check_tenant_name(name))

    def get_tenant(self, name: str) -> dict[str, Any]:
        """Returns {"name": name}. Raises NotFoundError."""
        return {"name": self._lease.engine().get_tenant(name)}

    def create_database(self, name: str, tenant: str = DEFAULT_TENANT) -> None:
        """Creates a database. Raises AlreadyExistsError, or NotFoundError for the tenant."""
        self._lease.engine().create_database(check_database_name(name), tenant)

    def get_database(self, name: str, tenant: str = DEFAULT_TENANT) -> dict[str, Any]:
        """Returns {"id": …, "name": …, "tenant": …}. Raises NotFoundError."""
        return _database(self._lease.engine().get_database(name, tenant))

    def delete_database(self, name: str, tenant: str = DEFAULT_TENANT) -> None:
        """Deletes a database with all its collections. Raises NotFoundError."""
        self._lease.engine().delete_database(name, tenant)

    def list_databases(
        self, limit: int | None = None, offset: int | None = None, tenant: str = DEFAULT_TENANT
    ) -> list[dict[str, Any]]:
        """Returns the databases of a tenant by name."""
        found = self._lease.engine().list_databases(
            tenant, check_count("limit", limit), check_count("offset", offset)
        )
        return [_database(database) for database in found]


def _database(database: Database) -> dict[str, Any]:
    return {"id": database.id, "name": database.name, "tenant": database.tenant}

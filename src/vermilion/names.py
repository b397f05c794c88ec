"""Which names tenants, databases, collections and fields may have; metadata of collections."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from vermilion.errors import ArgumentTypeError, ArgumentValueError, InvalidArgumentError
from vermilion.metadata import check_key, check_value
from vermilion.types import Order

_NAME = r"[a-zA-Z0-9][a-zA-Z0-9._-]{1,510}[a-zA-Z0-9]"
_MAX_LENGTH = 512


def check_collection_name(name: object, field: str = "name") -> str:
    """A collection name, or InvalidArgumentError; `field` is what the error calls it."""
    return _check_name(name, f"Validation error: {field}: ")


def check_database_name(name: object) -> str:
    """A database name, or InvalidArgumentError. The rule is that of collections."""
    return _check_name(name, "")


def check_tenant_name(name: object) -> str:
    """A tenant name, or InvalidArgumentError: any text of at least 3 characters."""
    if not isinstance(name, str):
        raise ArgumentTypeError(f"Expected a tenant name to be a str, got {name!r}")
    if not 3 <= len(name) <= _MAX_LENGTH:
        raise InvalidArgumentError(
            f"Validation error: name: Expected a tenant name of 3-512 characters. Got: {name}"
        )
    return name


def _check_name(name: object, prefix: str) -> str:
    if not isinstance(name, str):
        raise ArgumentTypeError(f"{prefix}Expected a name to be a str, got {name!r}")
    parts = name.split("+")
    if len(parts) > 2:
        raise ArgumentValueError(
            f"{prefix}Expected a name with at most one topology prefix (one '+'). Got: {name}"
        )
    for part in parts:
        if not re.fullmatch(_NAME, part) or len(name) > _MAX_LENGTH:
            raise ArgumentValueError(
                f"{prefix}Expected a name containing 3-512 characters from [a-zA-Z0-9._-], "
                f"starting and ending with a character in [a-zA-Z0-9]. Got: {name}"
            )
        if ".." in part:
            raise ArgumentValueError(
                f"{prefix}Expected a name that does not contains two consecutive periods (..). "
                f"Got {name}"
            )
        if _is_ip(part):
            raise ArgumentValueError(
                f"{prefix}Expected a name that is not a valid ip address. Got {name}"
            )
    return str.__str__(name)  # an enumeration's member is stored as its value


def _is_ip(name: str) -> bool:
    import ipaddress  # costs 3 ms, and most processes make no collection

    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def check_collection_metadata(metadata: object) -> dict[str, Any] | None:
    """A checked copy of a collection's metadata, or None.

    Keys whose value is None are left out. Raises InvalidArgumentError for what cannot be stored.
    """
    if metadata is None:
        return None
    prefix = "Validation error: metadata"
    if not isinstance(metadata, Mapping):
        raise ArgumentValueError(f"{prefix}: Expected metadata to be a dict, got {metadata!r}")
    if not metadata:
        raise ArgumentValueError(
            f"{prefix}: Metadata cannot be empty: expected a non-empty dict or None"
        )
    checked = {check_key(key, prefix): check_value(key, value) for key, value in metadata.items()}
    return {key: value for key, value in checked.items() if value is not None} or None


# ── fields of records ────────────────────────────────────────────────────────────────────────────


def check_order(order_by: object) -> list[Order]:
    """The fields by which records are ordered."""
    names = [order_by] if isinstance(order_by, str) else order_by
    if not isinstance(names, list | tuple) or not all(isinstance(one, str) for one in names):
        raise ArgumentTypeError(
            f"Expected order_by to be a field or a list of fields, got {order_by!r}"
        )
    orders = [Order(name.removeprefix("-"), name.startswith("-")) for name in names]
    for order in orders:
        check_field("order_by", order.field)
    return orders


def check_field(noun: str, field: object) -> str:
    """The name of a metadata field."""
    if not isinstance(field, str):
        raise ArgumentTypeError(f"Expected {noun} to name metadata fields, got {field!r}")
    if not field or field[0] in "#$":
        raise ArgumentValueError(f"Expected {noun} to name metadata fields, got {field!r}")
    return field

"""What a collection itself is, written into the first record of a stream and read out of it."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from vermilion.configuration import Configuration, for_new_collection, without_legacy
from vermilion.engine import CollectionInfo
from vermilion.errors import InvalidArgumentError
from vermilion.names import check_collection_metadata
from vermilion.wire import schemas, settings

Form = dict[str, Any]


@dataclass(frozen=True)
class Description:
    """How a collection is to be made."""

    configuration: Configuration
    metadata: Form | None = None
    schema: Form | None = None


def describe(info: CollectionInfo) -> Form:
    """The form in which a collection's own data travel."""
    form = {
        "name": info.name,
        "metadata": info.metadata,
        "configuration": settings.write_configuration(info.configuration),
    }
    schema = _own(info)
    return form if schema is None else {**form, "schema": schema}


def _own(info: CollectionInfo) -> Form | None:
    """The schema, if it says anything that the configuration does not.

    Servers of Chroma list every metadata key that they have seen, with what it has by default.
    """
    if info.schema is None:
        return None
    defaults = info.schema["defaults"]
    keys = {
        key: types
        for key, types in info.schema["keys"].items()
        if key.startswith("#") or any(types[kind] != defaults.get(kind) for kind in types)
    }
    own = {**info.schema, "keys": keys}
    usual = schemas.schema_of(info.configuration)
    return None if _portable(own) == _portable(usual) else own


def _portable(form: Any) -> Any:
    """The form without what depends on the machine."""
    if not isinstance(form, dict):
        return form
    return {key: _portable(value) for key, value in form.items() if key != "num_threads"}


def checked(form: object) -> Form:
    """The form as an object, or an error."""
    if not isinstance(form, dict):
        raise InvalidArgumentError(f"_collection: expected an object, got {form!r}")
    return form


def understand(form: Form) -> Description:
    """What a stream says of the collection it comes from, checked: anybody may have written it."""
    metadata = check_collection_metadata(form.get("metadata") or None)
    given = form.get("configuration") or {}
    settings.CONFIGURATION.check(given, "_collection.configuration")
    configuration = for_new_collection(given, metadata, given.get("embedding_function"))
    if form.get("schema") is None:
        return Description(configuration, metadata)
    from vermilion.schema.rules import reconciled  # with classes that few streams need

    wanted = schemas.read_schema(form["schema"], "_collection.schema")
    configuration, schema = reconciled(wanted, Configuration())  # it says all that the other does
    return Description(configuration, metadata, schema)


def changed(form: Form, space: str | None = None, function: Form | None = None) -> Form:
    """The form of a collection with another distance, or another embedding function."""
    form = copy.deepcopy(form)
    configuration = _inside(form, "configuration")
    vectors = _of_vectors(form.get("schema"))
    if space is not None:
        _inside(configuration, "hnsw")["space"] = space
        form["metadata"] = without_legacy(form.get("metadata"))
        if vectors is not None:
            vectors["space"] = space
    if function is not None:
        configuration["embedding_function"] = function
        if vectors is not None:
            vectors["embedding_function"] = function
    return form


def _inside(form: Form, key: str) -> Form:
    if not isinstance(form.get(key), dict):
        form[key] = {}
    inner: Form = form[key]
    return inner


def _of_vectors(schema: Any) -> Form | None:
    """What a schema says of the vector index, if it does."""
    for key in ("keys", "#embedding", "float_list", "vector_index", "config"):
        schema = schema.get(key) if isinstance(schema, dict) else None
    return schema if isinstance(schema, dict) else None

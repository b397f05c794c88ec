"""New vectors for all records at once: they are staged first, in a collection beside.

A staged record has the id, the new vector, and as its uri a stamp of what the vector was made of,
so that whoever switches sees which documents have changed since.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vermilion.engine import CollectionInfo

# So many ids that lack a vector are told at once.
MOST_MISSING = 1_000


def source_stamp(document: str | None, uri: str | None) -> str:
    """What a vector is made of: the document, or without one what the uri leads to.

    >>> source_stamp("a", None) == source_stamp("a", "b") != source_stamp(None, "a")
    True
    """
    from hashlib import sha256  # loads OpenSSL

    source = f"uri {uri}" if document is None else f"document {document}"
    return sha256(source.encode()).hexdigest()


def maker_of(form: Mapping[str, Any] | None) -> str | None:
    """The name and configuration of a function as one text; None for one without a name.

    >>> maker_of({"type": "known", "name": "a", "config": {}})
    '{"config": {}, "name": "a", "type": "known"}'
    """
    if form is None or form.get("type") != "known":
        return None
    return json.dumps(form, sort_keys=True)


def with_function(info: CollectionInfo, form: dict[str, Any]) -> CollectionInfo:
    """The collection with this function in its configuration, and in its schema if it has one."""
    configuration = replace(info.configuration, embedding_function=form)
    schema = None if info.schema is None else _replaced(info.schema, form)
    return replace(info, configuration=configuration, schema=schema)


def _replaced(schema: dict[str, Any], form: dict[str, Any]) -> dict[str, Any]:
    """The schema, where every vector index has the function."""
    changed: dict[str, Any] = json.loads(json.dumps(schema))
    for types in (changed.get("defaults") or {}, *(changed.get("keys") or {}).values()):
        index = (types.get("float_list") or {}).get("vector_index")
        if index is not None and (index.get("config") or {}).get("embedding_function"):
            index["config"]["embedding_function"] = form
    return changed

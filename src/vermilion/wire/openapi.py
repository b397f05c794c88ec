"""The OpenAPI document, made from the table of operations."""

from __future__ import annotations

import re
from typing import Any

from vermilion.version import __version__
from vermilion.wire.faults import FORM as ERROR
from vermilion.wire.fields import Field, Fields, Form
from vermilion.wire.operation import API, Route
from vermilion.wire.table import OPERATIONS, Kind

# Every operation may be answered with these, in the form of an error.
_ANYWHERE = {
    "401": "Unknown credentials.",
    "403": "Not allowed.",
    "429": "Too many requests; Retry-After says when to come back.",
    "500": "Something broke in the server; its log has it under the X-Request-Id.",
    "503": "The server is busy, or the request took too long.",
}
_WITH_PATH = {"400": "An argument makes no sense.", "404": "No such tenant, database, collection."}
_WITH_BODY = {
    "400": "The body is no JSON, or an argument makes no sense.",
    "408": "The body was not complete in time.",
    "413": "The body or the batch is too large.",
    "415": "The body says that it is something else than JSON.",
    "422": "The JSON has another shape than it should.",
}
_SOMETIMES = {
    "409": "The name is taken.",
    "501": "Not supported.",
}


def document() -> Form:
    """The whole document."""
    paths: Form = {}
    for kind in OPERATIONS:
        paths.setdefault(_path(kind.route), {})[kind.route.method.lower()] = _operation(kind)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Vermilion",
            "version": __version__,
            "description": "Chroma's HTTP API v2. Additions, marked as such, are Vermilion's own.",
        },
        "paths": paths,
        "components": {
            "schemas": {"Error": ERROR},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "basic": {"type": "http", "scheme": "basic"},
                "chroma": {"type": "apiKey", "in": "header", "name": "X-Chroma-Token"},
            },
        },
        "security": [{}, {"bearer": []}, {"basic": []}, {"chroma": []}],
    }


def _path(route: Route) -> str:
    """The whole path; where one step has two names, an id or a name, it has to be one here."""
    return re.sub(r"collections/\{name\}$", "collections/{collection_id}", API + route.path)


def _operation(kind: Kind) -> Form:
    route = kind.route
    steps = re.findall(r"\{(\w+)\}", _path(route))
    form: Form = {
        "operationId": re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower(),
        "summary": f"{route.says} (an addition)" if route.ours else route.says,
        "tags": [_tag(route)],
        "parameters": [*map(_step, steps), *map(_query, route.query)],
        "responses": _responses(route, bool(steps)),
    }
    if route.body is not None:
        form["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _body(route.body)}},
        }
    return form


def _tag(route: Route) -> str:
    steps = route.path.split("/")
    if "{collection_id}" in steps and steps[-1] != "{collection_id}":
        return "records"
    return "collections" if "collections" in steps else "system"


def _step(name: str) -> Form:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _query(one: Field) -> Form:
    return {
        "name": one.name,
        "in": "query",
        "required": False,
        "description": one.says,
        "schema": one.kind.schema,
    }


def _body(body: Fields) -> Form:
    form: Form = {"type": "object", "properties": {one.name: one.schema for one in body}}
    required = [one.name for one in body if one.required]
    return form | ({"required": required} if required else {})


def _responses(route: Route, has_steps: bool) -> Form:
    told = dict(_ANYWHERE) | (_WITH_PATH if has_steps or route.query else {})
    if route.body is not None:
        told |= _WITH_BODY
    if route.method != "GET" or route.path.endswith(("count", "/{name}")):
        told |= _SOMETIMES
    responses: dict[str, Any] = {
        str(route.status): {
            "description": "Done.",
            "content": {"application/json": {"schema": route.answer}},
        }
    }
    for status, says in sorted(told.items()):
        responses[status] = {
            "description": says,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
        }
    return responses

"""A server of the HTTP API in thirty lines: the other end of the wire, and nothing more."""

from typing import Any
from urllib.parse import parse_qsl

from vermilion.engine import Engine
from vermilion.wire.faults import fault
from vermilion.wire.fields import read, read_query
from vermilion.wire.operation import API, Received
from vermilion.wire.table import Routes
from vermilion.wire.text import dumps, loads

ROUTES = Routes()


def app_of(engine: Engine) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        status, form = answer(engine, scope, body)
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": dumps(form)})

    return app


def answer(engine: Engine, scope: Any, body: bytes) -> tuple[int, Any]:
    path = scope["raw_path"].decode()
    found = ROUTES.find(scope["method"], path.removeprefix(API))
    if found is None:
        return 404, {"error": "NotFoundError", "message": path}
    kind, parts = found
    route = kind.route
    query = dict(parse_qsl(scope["query_string"].decode()))
    try:
        received = Received(
            parts,
            read_query(route.query, query),
            {} if route.body is None else read(route.body, loads(body)),
        )
        operation = kind.decode(received)
        return route.status, operation.to_json(operation.perform(engine))
    except Exception as error:
        status, form = fault(error)
        if status == 500 and "log has it" in form["message"]:
            raise
        return status, form

"""Traces reach a collector, in the caller's own trace. Needs the extra `otel`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from processes import running
from served import HERE

pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
trace_service = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")


@contextmanager
def collector() -> Iterator[tuple[str, list[Any]]]:
    """Where traces may be sent, and the spans that came."""
    spans: list[Any] = []

    class Sink(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            import gzip

            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            request = trace_service.ExportTraceServiceRequest.FromString(body)
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    spans.extend(scope.spans)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    sink = ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    threading.Thread(target=sink.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{sink.server_address[1]}/v1/traces", spans
    finally:
        sink.shutdown()
        sink.server_close()


def test_spans_arrive_in_the_callers_trace(tmp_path: Path) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    with (
        collector() as (endpoint, spans),
        running(tmp_path / "database", "--otel-endpoint", endpoint) as server,
    ):
        with server.client() as client:
            headers = {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}
            client.get(f"{HERE}/collections", headers=headers).raise_for_status()
            assert client.get(f"{HERE}/collections/none").status_code == 404
        assert server.stop() == 0  # what is left is sent before it ends
    found = {
        span.name: (span.trace_id.hex() == trace, span.attributes[0].value.int_value)
        for span in spans
    }
    assert found == {"ListCollections": (True, 200), "GetCollection": (False, 404)}

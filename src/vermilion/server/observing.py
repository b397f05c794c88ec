"""What a server tells of itself: metrics, the access log, slow queries, traces."""

from __future__ import annotations

import itertools
import json
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from vermilion.engine import Engine
from vermilion.server.settings import ServerSettings
from vermilion.wire import records
from vermilion.wire.operation import Operation

access = logging.getLogger("vermilion.access")
log = logging.getLogger("vermilion.server")

# Seconds; a query takes about one millisecond.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


# What ids of requests begin with, so that those of other processes are others.
_PROCESS, _numbers = os.urandom(8).hex(), itertools.count(1)


@dataclass
class Span:
    """One request as it is observed."""

    id: str = field(default_factory=lambda: f"{_PROCESS}{next(_numbers):016x}")
    began: float = field(default_factory=time.perf_counter)
    name: str = ""
    caller: str = ""
    trace: Any = None

    @property
    def seconds(self) -> float:
        """How long it has been going on."""
        return time.perf_counter() - self.began


class Observer:
    """Sees every request begin and end."""

    def __init__(self, settings: ServerSettings) -> None:
        self._logs = settings.access_log
        self._slow = settings.slow_query_ms / 1000
        self._explaining = False
        self._metrics = _Metrics() if settings.metrics else None
        self._tracer = _tracer(settings.otel_endpoint) if settings.otel_endpoint else None

    def begin(self, asked: bytes | None) -> Span:
        """A request has come; `asked` is the id that the caller gives it."""
        span = Span()
        if (
            asked is not None
            and len(asked) <= 128
            and asked.isascii()
            and asked.decode().isprintable()
        ):
            span.id = asked.decode()
        if self._metrics is not None:
            self._metrics.inside.inc()
        return span

    def traced(self, span: Span, name: str, headers: dict[bytes, bytes]) -> None:
        """The operation is known."""
        span.name = name
        if self._tracer is not None:
            span.trace = self._tracer(name, headers)

    def end(self, span: Span, method: str, path: str, status: int, client: str) -> None:
        """The request is answered, or its connection is gone (status 0)."""
        seconds = span.seconds
        if self._metrics is not None:
            self._metrics.done(span.name, status, seconds)
        if span.trace is not None:
            span.trace.set_attribute("http.response.status_code", status)
            span.trace.end()
        if self._logs:
            line = {
                "time": time.time(),
                "id": span.id,
                "client": client,
                "caller": span.caller,
                "method": method,
                "path": path,
                "operation": span.name,
                "status": status,
                "ms": round(seconds * 1000, 3),
            }
            access.info(json.dumps(line))

    def page(self) -> tuple[bytes, bytes]:
        """The metrics as Prometheus reads them, and their content type; empty without metrics."""
        return (b"", b"") if self._metrics is None else self._metrics.page()

    # ── slow queries ─────────────────────────────────────────────────────────────────────────────

    def slow(self, operation: Operation[Any], seconds: float) -> bool:
        """Whether this is a query that took too long, and nobody is being told about one."""
        return (
            0 < self._slow < seconds
            and isinstance(operation, records.Query)
            and not self._explaining
        )

    def explain(self, operation: records.Query, engine: Engine, seconds: float, id: str) -> None:
        """Logs a slow query with its plan, for which it is asked once more."""
        self._explaining = True
        try:
            plan = engine.explain(
                operation.address,
                operation.vectors[:1],
                operation.k,
                operation.selection,
                operation.effort,
            )
            filter = operation.selection.filter
            line = {
                "slow_query_ms": round(seconds * 1000, 1),
                "id": id,
                "collection": str(operation.address.collection),
                "queries": len(operation.vectors),
                "n_results": operation.k,
                "ids": None if operation.selection.ids is None else len(operation.selection.ids),
                "conditions": [] if filter is None else _conditions(filter),
                "records": plan.records,
                "selected": plan.selected,
                "plan": [one._asdict() for one in plan.courses],
                "plan_ms": plan.milliseconds,
            }
            log.warning(json.dumps(line))
        except Exception as error:  # the query itself was answered: this is only a report of it
            log.warning("A slow query could not be explained: %r", error)
        finally:
            self._explaining = False


def _conditions(filter: Any) -> list[str]:
    """Fields and operators: operands may be nobody's business."""
    from vermilion.query.where import conditions

    return [
        f"{'not ' if one.operator.is_inverted else ''}{one.field} {one.operator.name}"
        for one in conditions(filter)
    ][:20]


# ── metrics ──────────────────────────────────────────────────────────────────────────────────────


class _Metrics:
    """The official client library's counters; several processes add up through files."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, values

        shared = "Multi" in values.ValueClass.__name__ or "Mmap" in values.ValueClass.__name__
        self.registry = CollectorRegistry()
        registry = None if shared else self.registry
        self._requests = Counter(
            "vermilion_requests", "Requests answered", ["operation", "status"], registry=registry
        )
        self._seconds = Histogram(
            "vermilion_request_seconds", "How long requests took", ["operation"],
            buckets=BUCKETS, registry=registry,
        )  # fmt: skip
        self.inside = Gauge(
            "vermilion_requests_in_progress", "Requests being answered", registry=registry,
            multiprocess_mode="livesum",
        )  # fmt: skip
        self._shared = shared
        self._known: dict[tuple[str, int], Any] = {}
        self._timed: dict[str, Any] = {}

    def done(self, name: str, status: int, seconds: float) -> None:
        """One more request is answered."""
        self.inside.dec()
        counter = self._known.get((name, status))
        if counter is None:
            counter = self._known[name, status] = self._requests.labels(name, str(status))
        counter.inc()
        timer = self._timed.get(name)
        if timer is None:
            timer = self._timed[name] = self._seconds.labels(name)
        timer.observe(seconds)

    def page(self) -> tuple[bytes, bytes]:
        """See Observer.page."""
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.exposition import CONTENT_TYPE_LATEST
        from prometheus_client.multiprocess import MultiProcessCollector

        registry = self.registry
        if self._shared:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # theirs
        return generate_latest(registry), CONTENT_TYPE_LATEST.encode()


# ── traces ───────────────────────────────────────────────────────────────────────────────────────


def _tracer(endpoint: str) -> Callable[[str, dict[bytes, bytes]], Any]:
    """Starts a span in the caller's trace, which ends up at the endpoint."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.propagate import extract
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace import SpanKind

    provider = TracerProvider(resource=Resource.create({"service.name": "vermilion"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint)))
    tracer = provider.get_tracer("vermilion.server")

    def start(name: str, headers: dict[bytes, bytes]) -> Any:
        carrier = {key.decode("latin-1"): value.decode("latin-1") for key, value in headers.items()}
        return tracer.start_span(name, context=extract(carrier), kind=SpanKind.SERVER)

    return start

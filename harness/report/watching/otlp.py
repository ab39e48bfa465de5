"""`--otlp`: a run's spans and metrics, sent over OTLP/HTTP to a collector by OpenTelemetry's own SDK."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from harness.errors import HarnessError
from harness.observation import llm
from harness.observation.journal import Damage, read_journal, read_lines
from harness.observation.llm import LlmCall
from harness.observation.observation import Observation
from harness.scenario.units import Kind
from harness.statistics.level import LevelSummary
from harness.statistics.metrics import AGENT_METRICS, METRICS, SERVICE_METRICS, Metric, MetricType
from harness.verdict.judge import JudgedRun

if TYPE_CHECKING:
    from opentelemetry.metrics import Histogram, Meter
    from opentelemetry.sdk.metrics.export import MetricsData
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan

NOT_INSTALLED = "--otlp: needs OpenTelemetry's SDK and exporter: pip install 'orchestration-harness[otel]'"
ANSWERS_S = 5.0
PORTS = {"http": 80, "https": 443}
UNITS: Mapping[Kind, str] = {
    "duration": "s", "size": "By", "share": "1", "rate": "1/s", "count": "1", "cost": "{USD}",
}  # fmt: skip
DURATION_BOUNDS = [0.01 * 2**power for power in range(14)]
TOKEN_BOUNDS = [4**power for power in range(14)]
"""Bounds of histograms that the conventions ask for."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What arrived."""

    spans: int
    metrics: int


def otlp_mistakes(url: str) -> Iterator[str]:
    """What is wrong with the collector, or with what is installed here, found before anything is started."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or PORTS.get(parts.scheme)
    except ValueError:
        parts, host, port = urlsplit(""), None, None
    if parts.scheme not in PORTS or host is None or port is None:
        yield "--otlp: say the collector's address (OTLP over HTTP), as in http://127.0.0.1:4318"
        return
    if parts.username is not None or parts.password is not None:
        yield "--otlp: leave names and passwords out of the URL; OTEL_EXPORTER_OTLP_HEADERS may hold them"
        return
    if parts.path.rstrip("/").endswith(("/v1/traces", "/v1/metrics")) or parts.query or parts.fragment:
        yield f"--otlp {url}: leave out what comes after the collector's address: /v1/traces and /v1/metrics are added"
        return
    try:
        import opentelemetry.exporter.otlp.proto.http
        import opentelemetry.sdk.trace  # noqa: F401
    except ImportError:
        yield NOT_INSTALLED
        return
    try:
        socket.create_connection((host, port), timeout=ANSWERS_S).close()
    except OSError as error:
        yield f"--otlp {url}: nothing answers there ({error}); start the collector, or leave it out"


def export(judged: JudgedRun, url: str) -> Sent:
    """Send everything of a run that was made by this process, on this machine's clock, to the collector at `url`.

    Raises HarnessError when the collector does not take it; what it took before stays there.
    """
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.metrics.export import MetricExportResult
    from opentelemetry.sdk.trace.export import SpanExportResult

    base = url.rstrip("/")
    spans, metrics = OTLPSpanExporter(f"{base}/v1/traces"), OTLPMetricExporter(f"{base}/v1/metrics")
    sent = 0

    def send(batch: Sequence[ReadableSpan]) -> None:
        nonlocal sent
        if spans.export(batch) is not SpanExportResult.SUCCESS:
            raise HarnessError(f"{url} did not take the spans after the first {sent}; what it said is above")
        sent += len(batch)

    try:
        found = _read(judged, send)
        if metrics.export(found) is not MetricExportResult.SUCCESS:
            raise HarnessError(f"{url} did not take the metrics; what it said is above")
    finally:
        spans.shutdown()  # type: ignore[no-untyped-call]
        metrics.shutdown()
    return Sent(sent, sum(len(scope.metrics) for each in found.resource_metrics for scope in each.scope_metrics))


def _read(judged: JudgedRun, send: Callable[[Sequence[ReadableSpan]], None]) -> MetricsData:
    """Every line of the run's files as spans, and what is counted of them and of its levels."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    from harness.report.watching.spans import SCOPE, Spans

    resource, manifest = _resource(judged), judged.manifest
    zero_ns = time.time_ns() - round((time.monotonic() - manifest.t0) * 1e9)
    spans = Spans(manifest.run_id, resource, zero_ns, send)
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader], resource=resource, shutdown_on_exit=False).get_meter(SCOPE)
    damage = Damage()  # the verdict has named it
    for line in read_journal(judged.run_dir / "journal.jsonl", damage):
        if isinstance(line, Observation):
            spans.workflow(line)
    models = Models(meter)
    if (path := judged.run_dir / llm.FILE).exists():
        for call in read_lines(path, msgspec.json.Decoder(LlmCall), damage):
            spans.call(call)
            models.add(call)
    spans.end()
    for level in judged.summary.levels:
        _gauges(meter, level)
    found = reader.get_metrics_data()
    assert found is not None, "a level has numbers"
    return found


def _resource(judged: JudgedRun) -> Resource:
    from opentelemetry.sdk.resources import Resource

    manifest = judged.manifest
    return Resource.create(
        {
            "service.name": "orchestration-harness",
            "service.instance.id": manifest.run_id,
            "harness.scenario": manifest.scenario,
            "harness.target": manifest.target,
            "harness.seed": manifest.seed,
            "harness.verdict": judged.verdict.word,
        }
    )


class Models:
    """The histograms that the conventions ask for of calls to models."""

    def __init__(self, meter: Meter) -> None:
        self._took: Histogram = meter.create_histogram(
            "gen_ai.client.operation.duration",
            "s",
            "GenAI operation duration.",
            explicit_bucket_boundaries_advisory=DURATION_BOUNDS,
        )
        self._tokens: Histogram = meter.create_histogram(
            "gen_ai.client.token.usage",
            "{token}",
            "Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=TOKEN_BOUNDS,
        )

    def add(self, call: LlmCall) -> None:
        """One attempt."""
        from harness.report.watching.spans import call_error

        attributes = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": call.api.partition(".")[0],
            "gen_ai.request.model": call.model,
            "harness.level": call.level,
        }
        answered = call.status == 200 and call.complete
        self._took.record(call.ended_s, attributes if answered else attributes | {"error.type": call_error(call)})
        if answered:
            self._tokens.record(call.input_tokens, attributes | {"gen_ai.token.type": "input"})
            self._tokens.record(call.output_tokens, attributes | {"gen_ai.token.type": "output"})


def _gauges(meter: Meter, level: LevelSummary) -> None:
    """Every number of a level that a limit can be set on."""
    where = {"harness.level": level.level}
    _gauge(meter, "harness.", METRICS, level.metrics, where)
    for name, metrics in level.agents.items():
        _gauge(meter, "harness.agent.", AGENT_METRICS, metrics, where | {"gen_ai.agent.name": name})
    for name, metrics in level.services.items():
        _gauge(meter, "harness.service.", SERVICE_METRICS, metrics, where | {"harness.service": name})


def _gauge(
    meter: Meter,
    prefix: str,
    types: Mapping[str, MetricType],
    metrics: Mapping[str, Metric],
    attributes: Mapping[str, str],
) -> None:
    for name, metric in metrics.items():
        if metric.value is not None and name in types:
            gauge = meter.create_gauge(prefix + name, UNITS[types[name].unit], types[name].meaning)
            gauge.set(metric.value, dict(attributes))

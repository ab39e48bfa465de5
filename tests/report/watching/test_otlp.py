"""A run's traces and metrics, as a collector gets them: every workflow, step and call, by the conventions for GenAI."""

from __future__ import annotations

import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from harness.errors import HarnessError
from harness.observation.observation import Outcome
from harness.report.watching.otlp import export, otlp_mistakes
from harness.report.watching.spans import BATCH
from harness.verdict.judge import judge_run
from tests.conftest import RunBuilder
from tests.report.watching.collector import Collector, collecting, plain


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as found:
        yield found


def test_a_workflow_is_a_trace_of_its_steps_and_their_calls(run: RunBuilder, collector: Collector) -> None:
    """Each below what it is a part of, at its own time, with the names that the conventions give."""
    seen = run.workflow(2.0, id="w1", steps=(run.step("data", waited_s=0.25, took_s=1.0),), tokens=351)
    run.call("w1", "step", 15.3, took_s=0.75, stream=True, ttft_s=0.5)
    run.phases()
    run.resources()
    before = time.time()
    sent = export(judge_run(run.write()), collector.url)
    spans = {span.name: span for span in collector.spans}
    workflow, step, call = (spans[name] for name in ("invoke_workflow simple", "invoke_agent data", "chat some-model"))
    assert sent.spans == len(collector.spans) == 3
    assert {span.trace_id for span in spans.values()} == {workflow.trace_id}
    assert (workflow.parent_span_id, step.parent_span_id, call.parent_span_id) == (
        b"", workflow.span_id, step.span_id,
    )  # fmt: skip
    assert [span.kind for span in (workflow, step, call)] == [1, 1, 3]  # internal, internal, client
    zero = before - time.monotonic()  # the hand-written run's t0 is the clock's own
    for span, begun, took in ((workflow, seen.intended, 2.0), (step, 15.25, 1.0), (call, 15.3, 0.75)):
        assert span.start_time_unix_nano / 1e9 - zero == pytest.approx(begun, abs=5.0)
        assert (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9 == pytest.approx(took, abs=1e-6)
    assert (step.start_time_unix_nano - workflow.start_time_unix_nano) / 1e9 == pytest.approx(0.25, abs=1e-6)
    of = plain(call.attributes)
    assert of["gen_ai.operation.name"] == "chat"
    assert (of["gen_ai.provider.name"], of["gen_ai.request.model"]) == ("openai", "some-model")
    assert (of["gen_ai.usage.input_tokens"], of["gen_ai.usage.output_tokens"]) == (300, 51)
    assert (of["gen_ai.response.time_to_first_chunk"], of["gen_ai.agent.name"]) == (0.5, "data")
    of = plain(step.attributes)
    assert (of["gen_ai.operation.name"], of["gen_ai.agent.name"]) == ("invoke_agent", "data")
    assert of["harness.pool_wait_s"] == pytest.approx(0.25)
    of = plain(workflow.attributes)
    assert (of["gen_ai.operation.name"], of["gen_ai.agent.name"]) == ("invoke_workflow", "simple")
    assert (of["harness.workflow.id"], of["harness.level"], of["harness.outcome"]) == ("w1", "10", "ok")
    assert {span.status.code for span in spans.values()} == {0}
    assert plain(collector.resources[0].attributes)["service.instance.id"] == "20260101-000000-hand_written-0001"


def test_what_went_wrong_is_an_error_with_its_class(run: RunBuilder, collector: Collector) -> None:
    """A workflow that failed, one that was never sent, a call that was refused and one that nobody made for us."""
    run.workflow(1.0, Outcome.UNKNOWN, id="w1", error_class="timeout", message="no end in 1 s")
    run.workflow(None, Outcome.NOT_STARTED, id="w2", error_class="shed")
    run.call("w1", "step", status=429, error="rate_limit_exceeded", agent="data")
    run.call("", "", fault="stall", complete=False, agent="")
    run.phases()
    export(judge_run(run.write()), collector.url)
    errors = {plain(span.attributes)["error.type"]: span for span in collector.spans if span.status.code == 2}
    assert set(errors) == {"timeout", "shed", "rate_limit_exceeded", "stall"}
    assert errors["timeout"].status.message == "no end in 1 s"
    assert errors["shed"].start_time_unix_nano == errors["shed"].end_time_unix_nano
    assert errors["stall"].parent_span_id == b""
    assert len({span.trace_id for span in errors.values()}) == 3


def test_many_are_sent_in_batches_and_none_is_left_out(run: RunBuilder, collector: Collector) -> None:
    """A step that was taken twice is two spans."""
    many = BATCH
    for number in range(many):
        run.workflow(0.5, id=f"many-{number}", steps=(run.step("data"), run.step("data")))
    run.phases()
    sent = export(judge_run(run.write()), collector.url)
    assert sent.spans == 3 * many
    assert len({span.span_id for span in collector.spans}) == 3 * many
    assert len(collector.traces) == 3
    assert Counter(span.name for span in collector.spans) == {
        "invoke_workflow simple": many, "invoke_agent data": 2 * many,
    }  # fmt: skip


def test_exported_again_it_is_the_same_spans(run: RunBuilder, collector: Collector) -> None:
    """A collector may keep one of them."""
    run.workflow(1.0, steps=(run.step(),))
    run.call("w0", "step")
    run.phases()
    judged = judge_run(run.write())
    export(judged, collector.url)
    export(judged, collector.url)
    ids = Counter((span.trace_id, span.span_id) for span in collector.spans)
    assert set(ids.values()) == {2}


def test_a_level_s_numbers_are_metrics(run: RunBuilder, collector: Collector) -> None:
    """Every one that a limit can be set on, with its unit; of calls, the histograms that the conventions ask for."""
    run.sound(20)
    run.call("w0", "step", took_s=0.5)
    judged = judge_run(run.write())
    sent = export(judged, collector.url)
    found = collector.by_name
    assert sent.metrics == len(found)
    [level] = judged.summary.levels
    [point] = found["harness.p95"].gauge.data_points
    assert (found["harness.p95"].unit, point.as_double) == ("s", level.metrics["p95"].value)
    assert plain(point.attributes) == {"harness.level": "10"}
    assert found["harness.rss_peak"].unit == "By"
    [pool] = found["harness.agent.pool_use"].gauge.data_points
    assert plain(pool.attributes)["gen_ai.agent.name"] == "data"
    measured = {f"harness.{name}" for name, metric in level.metrics.items() if metric.value is not None}
    assert measured <= set(found)
    [took] = found["gen_ai.client.operation.duration"].histogram.data_points
    assert (took.count, took.sum, found["gen_ai.client.operation.duration"].unit) == (1, 0.5, "s")
    tokens = found["gen_ai.client.token.usage"].histogram.data_points
    assert {str(plain(each.attributes)["gen_ai.token.type"]): each.sum for each in tokens} == {
        "input": 300,
        "output": 51,
    }


def test_a_collector_that_refuses_is_an_error(run: RunBuilder, collector: Collector) -> None:
    """Nothing is dropped in silence."""
    run.workflow()
    run.phases()
    collector.status = 400
    with pytest.raises(HarnessError, match="did not take the spans after the first 0"):
        export(judge_run(run.write()), collector.url)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("127.0.0.1:4318", "say the collector's address (OTLP over HTTP), as in http://127.0.0.1:4318"),
        ("grpc://127.0.0.1:4317", "say the collector's address"),
        ("http://me:secret@127.0.0.1:port", "say the collector's address"),
        ("http://me:secret@127.0.0.1:4318", "OTEL_EXPORTER_OTLP_HEADERS may hold them"),
        ("http://127.0.0.1:4318/v1/traces", "leave out what comes after"),
        ("http://127.0.0.1:4318/?a=b", "leave out what comes after"),
    ],
)
def test_a_url_that_will_not_do_is_told_with_the_way_out(url: str, said: str) -> None:
    """And no password is repeated."""
    [mistake] = otlp_mistakes(url)
    assert said in mistake
    assert "secret" not in mistake


def test_nobody_at_the_address_is_told_before_the_run() -> None:
    """Not after it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        [mistake] = otlp_mistakes(f"http://127.0.0.1:{taken.getsockname()[1]}")
    assert "nothing answers there" in mistake


def test_without_the_extra_the_install_line_is_said(monkeypatch: pytest.MonkeyPatch, collector: Collector) -> None:
    """As for a person who installed the core only: Python finds no such module."""
    assert list(otlp_mistakes(collector.url)) == []
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http", None)
    [mistake] = otlp_mistakes(collector.url)
    assert "pip install 'orchestration-harness[otel]'" in mistake

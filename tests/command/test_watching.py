"""`harness run --live --metrics-port --otlp`: a real run, watched in all three ways; and words that do not fit."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from harness.command.commands import commands
from harness.observation.journal import Damage, read_journal
from harness.observation.observation import Observation
from harness.report.watching.shown import Update
from tests.report.watching.collector import Collector, collecting, plain

WAIT_S = 60.0
SCENARIO = """
name = "watched"
description = "One agent, which is slow for a while."
[load]
closed = [2]
warmup = "200 ms"
measure = "2500 ms"
drain = "10 s"
[[workflow]]
kind = "job"
steps = [{ name = "only", agent = "data" }]
[agent.data]
work = { wait = "20 ms" }
[[fault]]
kind = "agent.slow"
agent = "data"
times = 3.0
at = "400 ms"
for = "1 s"
"""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as found:
        yield found


def updates(events: HTTPResponse) -> Iterator[Update]:
    """What the page is sent, until the run is over."""
    for line in events:
        if line.startswith(b"data: "):
            yield msgspec.json.decode(line.removeprefix(b"data: "), type=Update)


def test_a_run_is_watched_by_a_page_by_metrics_and_by_a_collector(tmp_path: Path, collector: Collector) -> None:
    """Each of them sees what is in the run's own files."""
    (tmp_path / "watched.toml").write_text(SCENARIO)
    words = ["run", "watched.toml", "--live", "--metrics-port", "0", "--otlp", collector.url, "--quiet"]
    with subprocess.Popen(
        [sys.executable, "-m", "harness", *words],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as run:
        assert run.stderr is not None
        page, metrics = (run.stderr.readline().split()[-1] for _ in range(2))
        seen, scraped = [], ""
        with urllib.request.urlopen(f"{page}events", timeout=WAIT_S) as events:
            for update in updates(events):
                seen.append(update)
                if update.spans and update.now.cpu_s is not None and not scraped:
                    with urllib.request.urlopen(metrics, timeout=WAIT_S) as answer:
                        scraped = answer.read().decode()
        out, err = run.communicate(timeout=WAIT_S)
    assert run.returncode == 3, (out, err)  # without limits it is inconclusive
    [journal] = tmp_path.glob("reports/*/journal.jsonl")
    observed = [line for line in read_journal(journal, Damage()) if isinstance(line, Observation)]

    last = seen[-1].now
    assert (last.over, last.verdict, last.scenario) == (True, "inconclusive", "watched")
    assert (tmp_path / last.report).is_file()
    assert {update.now.phase for update in seen} >= {"warmup", "measure"}
    assert [(span.kind, span.to_s is not None) for span in seen[-1].spans] == [("agent.slow", True)]
    [ended] = seen[-1].ended
    assert ended.status == "complete"
    assert 0 < ended.last.ok <= len(observed)
    assert (last.rss_bytes or 0) > 2**20

    found = {family.name: family for family in text_string_to_metric_families(scraped)}
    [fault] = found["harness_fault_active"].samples
    assert fault.labels["fault"] == "agent.slow"
    [cpu] = found["harness_target_cpu_seconds"].samples
    assert cpu.value > 0

    workflows = [span for span in collector.spans if span.name == "invoke_workflow job"]
    assert {plain(span.attributes)["harness.workflow.id"] for span in workflows} == {each.id for each in observed}
    assert len([span for span in collector.spans if span.name == "invoke_agent data"]) == len(observed)
    assert "harness.p95" in collector.by_name
    assert f"exported to {collector.url}: {len(collector.spans)} spans" in err


def test_a_collector_that_fails_changes_no_verdict(tmp_path: Path, collector: Collector) -> None:
    """It is said, and the run is what it is."""
    collector.status = 400
    (tmp_path / "watched.toml").write_text(SCENARIO.partition("[[fault]]")[0].replace("2500 ms", "300 ms"))
    words = ["run", "watched.toml", "--otlp", collector.url, "--quiet"]
    done = subprocess.run(
        [sys.executable, "-m", "harness", *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 3, done.stderr
    assert f"--otlp: {collector.url} did not take the spans" in done.stderr
    assert "inconclusive" in done.stdout


def test_words_that_do_not_fit_are_told_at_once_and_nothing_is_started(tmp_path: Path) -> None:
    """All of them, with the way out."""
    (tmp_path / "watched.toml").write_text(SCENARIO)
    words = ["run", str(tmp_path / "watched.toml"), "--reports", str(tmp_path / "reports")]
    words += ["--live-port", "8000", "--metrics-port", "8000", "--otlp", "nowhere"]
    ended = CliRunner().invoke(commands, words)
    said = ended.output + str(ended.exception)
    assert "--live-port 8000: is for --live" in said
    assert "--metrics-port 8000: is the --live-port, too" in said
    assert "--otlp: say the collector's address" in said
    assert not (tmp_path / "reports").exists()


def test_a_port_beyond_all_ports_is_a_usage_error() -> None:
    """By the command line itself."""
    ended = CliRunner().invoke(commands, ["run", "any", "--metrics-port", "65536"])
    assert ended.exit_code == 2
    assert "65536" in ended.output

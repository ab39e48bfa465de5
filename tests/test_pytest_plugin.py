"""The pytest plugin, in a repository of its user's: a pytest of its own, with workers of xdist."""

from __future__ import annotations

import re
import subprocess
import sys
from xml.etree import ElementTree

import pytest

BOT = """
import asyncio

async def run(request, watch):
    async with watch.step("answer"):
        await asyncio.sleep(0.05)
    return {"id": request.id}
"""
SCENARIO = """
name = "{name}"
description = "Questions."
target = "python:my_bot:run"
[load]
closed = [4]
warmup = "100 ms"
measure = "400 ms"
drain = "5 s"
[[workflow]]
kind = "question"
deadline = "5 s"
"""
TESTS = """
import pytest

@pytest.mark.harness("scenarios/quick.toml", levels=[4])
def test_holds(harness):
    assert harness.metric("4", "p50") >= 0.05
    assert (harness.folder / "report.md").is_file()

@pytest.mark.harness("scenarios/slow.toml")
def test_breaks_its_limit():
    raise AssertionError("the verdict comes first")

@pytest.mark.harness("scenarios/unlimited.toml", measure="300 ms")
def test_is_inconclusive():
    pass

@pytest.mark.harness("scenarios/unlimited.toml", measure="300 ms", inconclusive="skip")
def test_is_skipped():
    pass

@pytest.mark.harness("scenarios/unlimited.toml", measure="300 ms", inconclusive="pass")
def test_is_let_through(harness):
    assert harness.word == "inconclusive"

@pytest.mark.harness("scenarios/missing.toml")
def test_has_no_scenario():
    pass

@pytest.mark.harness("scenarios/quick.toml", levels=[7], inconclusive="perhaps")
def test_says_nonsense():
    pass

def test_has_no_mark(harness):
    pass

def test_servers(harness_redis, harness_llm):
    from redis import Redis
    with Redis.from_url(harness_redis) as redis:
        assert redis.ping()
    from urllib.request import urlopen
    with urlopen(harness_llm + "/v1/models") as answer:
        assert answer.status == 200

def test_without_any():
    pass
"""
LIMITS = '[limits."4"]\nsuccess = ">= 50 %"\np50 = "{p50}"\n'


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, ElementTree.Element]]:
    """What such a pytest prints, and its cases in JUnit's form."""
    house = tmp_path_factory.mktemp("house")
    for folder in ("scenarios", "baselines"):
        (house / folder).mkdir()
    (house / "scenarios" / "my_bot.py").write_text(BOT)
    for name in ("quick", "slow", "unlimited"):
        (house / "scenarios" / f"{name}.toml").write_text(SCENARIO.format(name=name))
    (house / "baselines" / "quick.toml").write_text(LIMITS.format(p50="< 4 s"))
    (house / "baselines" / "slow.toml").write_text(LIMITS.format(p50="< 1 ms"))
    (house / "test_bots.py").write_text(TESTS)
    (house / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers -n 2\n")
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--junitxml", "junit.xml"],
        cwd=house, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    cases = ElementTree.parse(house / "junit.xml").getroot().iter("testcase")
    return ended.stdout + ended.stderr, {case.attrib["name"]: case for case in cases}


def outcome(case: ElementTree.Element) -> str:
    """Of one test."""
    return next((child.tag for child in case if child.tag in ("failure", "error", "skipped")), "passed")


def test_each_ends_as_its_verdict_says(told: tuple[str, dict[str, ElementTree.Element]]) -> None:
    """A broken limit and an inconclusive run are failures of the test; what was asked for wrongly is an error."""
    printed, cases = told
    assert {name: outcome(case) for name, case in cases.items()} == {
        "test_holds": "passed",
        "test_breaks_its_limit": "failure",
        "test_is_inconclusive": "failure",
        "test_is_skipped": "skipped",
        "test_is_let_through": "passed",
        "test_has_no_scenario": "error",
        "test_says_nonsense": "error",
        "test_has_no_mark": "error",
        "test_servers": "passed",
        "test_without_any": "passed",
    }, printed


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("test_breaks_its_limit", r"failed: limit: slow[\s\S]*the limit is < 1 ms[\s\S]*reports: "),
        ("test_is_inconclusive", r"inconclusive: unlimited\nthere are no limits to hold it against"),
        ("test_has_no_scenario", r"missing\.toml: no such scenario \(there: quick, slow, unlimited\)"),
        ("test_says_nonsense", "inconclusive='perhaps': say one of fail, skip, pass"),
        ("test_has_no_mark", "say which scenario: @pytest.mark.harness"),
    ],
)
def test_a_failure_is_the_verdict_s_own_sentence(
    told: tuple[str, dict[str, ElementTree.Element]], name: str, said: str
) -> None:
    """Without a traceback through the harness."""
    text = "".join(child.text or "" for child in told[1][name])
    assert re.search(said, text), text
    assert "Traceback" not in text
    assert "pytest_plugin.py" not in text


def test_junit_holds_verdict_and_folder(told: tuple[str, dict[str, ElementTree.Element]]) -> None:
    """For those who read only that."""
    properties = {each.attrib["name"]: each.attrib["value"] for each in told[1]["test_holds"].iter("property")}
    assert properties["harness_verdict"] == "pass"
    assert "reports" in properties["harness_run"]


def test_nothing_heavy_is_imported_with_pytest() -> None:
    """Whoever does not use it does not pay for it."""
    code = (
        "import sys, pytest; before = set(sys.modules); import harness.pytest_plugin; "
        "print(sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert not {"numpy", "msgspec", "locust", "gevent", "rich", "redis", "pydantic"} & set(eval(ended.stdout))

"""Expect rules tell a right reply from a corrupted one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.errors import TargetError, UsageError
from harness.target.expect import Expectations
from harness.target.target import WorkflowRequest

REQUEST = WorkflowRequest("10-3", "question", 42, 5.0, {"text": "why"})
RULES = """
def even(value, request):
    return value % 2 == 0

def asserts(value, request):
    assert value == request.id

def names_nothing(value, request):
    pass

number = 3
"""


@pytest.fixture
def rules(tmp_path: Path) -> Iterator[None]:
    """A rule file in the scenario's folder."""
    (tmp_path / "rules_of_test_expect.py").write_text(RULES)
    sys.path.insert(0, str(tmp_path))
    yield
    sys.path.remove(str(tmp_path))
    sys.modules.pop("rules_of_test_expect", None)


def broken(expect: dict[str, Any], reply: Any) -> str | None:
    """What a reply breaks, or None."""
    try:
        Expectations(expect).check(reply, REQUEST)
    except TargetError as error:
        return str(error)
    return None


def test_a_breach_is_a_definite_failure_called_corrupted() -> None:
    """The workflow did end; what it gave is not what was asked for."""
    with pytest.raises(TargetError) as caught:
        Expectations({"/x": "exists"}).check({}, REQUEST)
    assert (caught.value.definite, caught.value.error_class) == (True, "corrupted")


@pytest.mark.parametrize(
    ("rule", "good", "bad", "complaint"),
    [
        ("exists", {"x": None}, {"y": 1}, "/x is missing"),
        ({"equals": "{id}"}, {"x": "10-3"}, {"x": "10-4"}, "/x is '10-4', not '10-3'"),
        ({"equals": "{id}"}, {"x": "10-3"}, {}, "/x is nothing, not '10-3'"),
        ({"equals": 1}, {"x": 1}, {"x": True}, "/x is True, not 1"),
        ({"equals": {"seed": "{seed}"}}, {"x": {"seed": 42}}, {"x": {"seed": "42"}}, "not {'seed': 42}"),
    ],
)
def test_rules_accept_the_good_and_name_the_bad(rule: Any, good: Any, bad: Any, complaint: str) -> None:
    """Each rule, on a reply that keeps it and one that breaks it."""
    assert broken({"/x": rule}, good) is None
    assert complaint in (broken({"/x": rule}, bad) or "")


@pytest.mark.usefixtures("rules")
def test_a_python_rule_says_no_by_false_or_by_raising() -> None:
    """Returning nothing is a yes, so that asserting is enough."""
    even = {"/x": {"python": "rules_of_test_expect:even"}}
    assert broken(even, {"x": 2}) is None
    assert broken(even, {"x": 3}) == "/x is 3: rule rules_of_test_expect:even says no"
    assert "raised TypeError" in (broken(even, {"x": "a"}) or "")
    assert broken(even, {}) == "/x is missing"
    asserts = {"/x": {"python": "rules_of_test_expect:asserts"}}
    assert broken(asserts, {"x": "10-3"}) is None
    assert "raised AssertionError" in (broken(asserts, {"x": "10-4"}) or "")
    assert broken({"/x": {"python": "rules_of_test_expect:names_nothing"}}, {"x": 1}) is None


@pytest.mark.usefixtures("rules")
def test_reports_every_mistake_in_the_rules_at_once() -> None:
    """Unknown forms, pointers that are none, functions that are not there."""
    with pytest.raises(UsageError) as caught:
        Expectations(
            {
                "x": "exists",
                "/a": "exist",
                "/b": {"equals": "{ids}"},
                "/c": {"python": "no_such_module_anywhere:rule"},
                "/d": {"python": "rules_of_test_expect:nope"},
                "/e": {"python": "rules_of_test_expect:number"},
                "/f": {"equals": 1, "python": "rules_of_test_expect:even"},
            }
        )
    assert [mistake.split(":")[0] for mistake in caught.value.mistakes] == [
        f"expect.{pointer!r}" for pointer in ("x", "/a", "/b", "/c", "/d", "/e", "/f")
    ]


def test_no_rules_are_false() -> None:
    """So that a client can leave a reply unread."""
    assert not Expectations({})
    assert Expectations({"/x": "exists"})

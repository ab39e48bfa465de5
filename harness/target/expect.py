"""What a reply must look like: `expect` rules. A reply that breaks one is `failed`, error class `corrupted`.

    expect = { "/answer" = "exists", "/id" = { equals = "{id}" }, "/score" = { python = "rules:good_score" } }

A Python rule is called with the value found and the request; it says no by returning False or by raising.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from harness.errors import TargetError, UsageError
from harness.target.pointer import MISSING, Pointer
from harness.target.target import WorkflowRequest
from harness.target.template import json_template

SHOWN_CHARS = 120

_Complaint = Callable[[Any, WorkflowRequest], str | None]
"""Given what was found and the request: what is wrong with it, or None."""


def shown(value: Any) -> str:
    """A value in a message, cut to a readable length."""
    text = repr(value)
    return text if len(text) <= SHOWN_CHARS else text[: SHOWN_CHARS - 1] + "…"


def _exists(found: Any, request: WorkflowRequest) -> str | None:
    return "is missing" if found is MISSING else None


def _equals(template: Any) -> _Complaint:
    fill = json_template(template)

    def complaint(found: Any, request: WorkflowRequest) -> str | None:
        wanted = fill(request)
        # In Python True == 1; in JSON true is not 1.
        same = found == wanted and isinstance(found, bool) == isinstance(wanted, bool)
        return None if same else f"is {shown(found)}, not {shown(wanted)}"

    return complaint


def _python(name: str) -> _Complaint:
    rule = imported(name)

    def complaint(found: Any, request: WorkflowRequest) -> str | None:
        if found is MISSING:
            return "is missing"
        try:
            verdict = rule(found, request)
        except Exception as error:  # noqa: BLE001 - a person's rule: whatever it raises, it did not say yes
            return f"is {shown(found)}: rule {name} raised {type(error).__name__}: {error}"
        return f"is {shown(found)}: rule {name} says no" if verdict is False else None

    return complaint


def imported(name: str) -> Callable[..., Any]:
    """The function that `module:function` names. Raises UsageError, with the reason, when it cannot be had."""
    module_name, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except Exception as error:
        raise UsageError(f"rule python = {name!r}: {type(error).__name__}: {error}") from error
    if not callable(found):
        raise UsageError(f"rule python = {name!r}: it is a {type(found).__name__}, not a function")
    function: Callable[..., Any] = found
    return function


def _complaint_of(rule: Any) -> _Complaint:
    match rule:
        case "exists":
            return _exists
        case {"equals": template, **rest} if not rest:
            return _equals(template)
        case {"python": str(name), **rest} if not rest:
            return _python(name)
    raise UsageError(f'{rule!r} is not a rule; write "exists", {{ equals = … }} or {{ python = "module:function" }}')


class Expectations:
    """The compiled rules of one scenario. Raises UsageError with every mistake in them."""

    def __init__(self, rules: Mapping[str, Any]) -> None:
        self._rules: list[tuple[Pointer, _Complaint]] = []
        mistakes: list[str] = []
        for pointer, rule in rules.items():
            try:
                self._rules.append((Pointer(pointer), _complaint_of(rule)))
            except UsageError as error:
                mistakes.extend(f"expect.{pointer!r}: {mistake}" for mistake in error.mistakes)
        if mistakes:
            raise UsageError(mistakes)

    def __bool__(self) -> bool:
        return bool(self._rules)

    def check(self, reply: Any, request: WorkflowRequest) -> None:
        """Hold a decoded JSON reply against every rule. Raises TargetError(`corrupted`) naming the first broken one."""
        for pointer, complaint in self._rules:
            wrong = complaint(pointer.find(reply), request)
            if wrong is not None:
                raise TargetError(f"{pointer.text or 'the reply'} {wrong}", definite=True, error_class="corrupted")

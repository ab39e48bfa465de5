"""A user's own orchestrator as one async function, `python:module:attribute`, served by the host.

    async def run(request, watch) -> dict:
        async with watch.step("triage"):
            ...
        return {"answer": ...}

Or a class with `start`, `run` and `stop` (see `Target`), built without arguments.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from harness.errors import TargetError, UsageError
from harness.target.expect import Expectations
from harness.target.target import Services, Watch, WorkflowRequest, WorkflowResult

Runs = Callable[[WorkflowRequest, Watch], Awaitable[Any]]


class PythonTarget:
    """Runs the attribute that `options["attribute"]` names; checks what it returns by `options["expect"]`."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._owner: Any = None
        self._run: Runs = self._resolve(options["attribute"])
        self._expectations = Expectations(options.get("expect", {}))

    def _resolve(self, name: str) -> Runs:
        module_name, _, attribute = name.partition(":")
        try:
            found: Any = importlib.import_module(module_name)
        except Exception as error:
            raise UsageError(
                f"target python:{name}: importing {module_name} failed: {type(error).__name__}: {error}"
            ) from error
        for part in attribute.split("."):
            if not hasattr(found, part):
                raise UsageError(f"target python:{name}: {module_name} has no attribute {part!r}")
            found = getattr(found, part)
        if inspect.isclass(found):
            self._owner = found()
            found = getattr(self._owner, "run", None)
        if not inspect.iscoroutinefunction(found):
            raise UsageError(f"target python:{name}: not an async function of (request, watch), nor a class with one")
        runs: Runs = found
        return runs

    async def start(self, services: Services) -> None:
        """Start the user's object, if it has a start of its own."""
        if hasattr(self._owner, "start"):
            await self._owner.start(services)

    async def run(self, request: WorkflowRequest, watch: Watch) -> WorkflowResult:
        """Run to the end or the deadline. A timeout may have had effects, so it is not a definite failure."""
        try:
            async with asyncio.timeout(request.deadline_s) as deadline:
                result = await self._run(request, watch)
        except TimeoutError as error:
            if not deadline.expired():
                raise
            raise TargetError(
                f"still running after {request.deadline_s:g} s", definite=False, error_class="deadline"
            ) from error
        if isinstance(result, WorkflowResult):
            return result
        try:
            body = msgspec.json.encode(result, order="deterministic")
        except (TypeError, ValueError) as error:
            raise TargetError(
                f"the result is not JSON: {error}", definite=True, error_class="result_not_json"
            ) from error
        self._expectations.check(msgspec.json.decode(body), request)
        return WorkflowResult(digest=hashlib.blake2b(body, digest_size=16).hexdigest())

    async def stop(self) -> None:
        """Stop the user's object, if it has a stop of its own."""
        if hasattr(self._owner, "stop"):
            await self._owner.stop()

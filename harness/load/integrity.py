"""The digest an embedded workflow must end with, computed from its declaration alone.

This shares no code with the orchestrator on purpose: it is the other side of the check that finds cross-talk between
concurrent workflows and lost state.

    finding(step) = blake2b-128( seed | workflow id | kind | step | agent | finding of each need, in declared order )
    digest        = blake2b-128( step=finding | step=finding | … )        in declared order of the steps

Fields are joined by "|", hashes written in hex, `seed` is the workflow's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from harness.scenario.scenario import Workflow
from harness.target.target import WorkflowRequest


class Integrity:
    """Knows the final digest of every workflow of a scenario."""

    def __init__(self, workflows: Sequence[Workflow]) -> None:
        # kind -> (text that follows "seed|id" in a step's finding, places of its needs, text before it in the digest)
        self._plans: dict[str, list[tuple[bytes, tuple[int, ...], bytes]]] = {}
        for workflow in workflows:
            steps = workflow.declared_steps
            places = {step.name: place for place, step in enumerate(steps)}
            self._plans[workflow.kind] = [
                (
                    f"|{workflow.kind}|{step.name}|{step.agent}".encode(),
                    tuple(places[need] for need in step.needs),
                    f"{step.name}=".encode(),
                )
                for step in steps
            ]

    def expected(self, request: WorkflowRequest) -> str:
        """The digest (hex) of this workflow's right result."""
        head = f"{request.seed}|{request.id}".encode()
        findings: list[bytes] = []
        finals: list[bytes] = []
        for text, needs, label in self._plans[request.kind]:
            hashed = b"|".join([head + text, *[findings[place] for place in needs]])
            finding = blake2b(hashed, digest_size=16).hexdigest().encode()
            findings.append(finding)
            finals.append(label + finding)
        return blake2b(b"|".join(finals), digest_size=16).hexdigest()

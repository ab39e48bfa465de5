"""The mark in a prompt by which a call is known again at the provider: which workflow, which agent, which step.

    [harness workflow=10-17 agent=data step=data-1 finding=0f3a… tokens=60]

It passes through every framework and every SDK, because it is text. A provider of ours reads it wherever it stands
in the prompt; to a real model it is noise.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

_CANARY = re.compile(r"\[harness((?: [a-z]+=[^\s\]]*)+)\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """What a prompt says of its call. `finding` is what the simulated answer is to carry, `tokens` how long it is."""

    workflow: str
    agent: str = ""
    step: str = ""
    finding: str = ""
    tokens: int | None = None

    def __str__(self) -> str:
        named = {
            "workflow": self.workflow,
            "agent": self.agent,
            "step": self.step,
            "finding": self.finding,
            "tokens": "" if self.tokens is None else str(self.tokens),
        }
        return "[harness " + " ".join(f"{name}={quote(text, safe='')}" for name, text in named.items() if text) + "]"


def find_canary(text: str) -> Canary | None:
    """The last canary in `text` that names a workflow: in a conversation the newest turn counts."""
    found = None
    for match in _CANARY.finditer(text):
        named = {name: unquote(value) for name, _, value in (part.partition("=") for part in match[1].split())}
        if named.get("workflow"):
            tokens = named.get("tokens", "")
            found = Canary(
                workflow=named["workflow"],
                agent=named.get("agent", ""),
                step=named.get("step", ""),
                finding=named.get("finding", ""),
                tokens=int(tokens) if tokens.isascii() and tokens.isdigit() and len(tokens) < 9 else None,
            )
    return found

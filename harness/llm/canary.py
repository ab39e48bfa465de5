"""The mark in a prompt by which a call is known again at the provider: which workflow, which agent, which step.

    [harness workflow=10-17 agent=data step=data-1 finding=0f3a… tokens=60]

It passes through every framework and every SDK, because it is text. A provider of ours reads it wherever it stands
in the prompt; to a real model it is noise.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

_MARK = "[harness "
_CANARY = re.compile(r"\[harness((?: [a-z]+=[^\s\[\]]*){1,16})\]")
_LOOKED_AT_MAX = 1000  # of what looks like one: a prompt of nothing else must not hold a provider up


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
    at = len(text)
    for _ in range(_LOOKED_AT_MAX):
        at = text.rfind(_MARK, 0, at)
        if at < 0:
            return None
        match = _CANARY.match(text, at)
        named = {} if match is None else _named(match[1])
        if named.get("workflow"):
            tokens = named.get("tokens", "")
            return Canary(
                workflow=named["workflow"],
                agent=named.get("agent", ""),
                step=named.get("step", ""),
                finding=named.get("finding", ""),
                tokens=int(tokens) if tokens.isascii() and tokens.isdigit() and len(tokens) < 9 else None,
            )
    return None


def _named(parts: str) -> dict[str, str]:
    return {name: unquote(value) for name, _, value in (part.partition("=") for part in parts.split())}

"""`ledger.jsonl`, the witness's own file, and the frames by which an agent asks the witness to act.

    agent                                    witness
    act{workflow,step,op_id,token,…}  ─▶     performs it, writes an Effect, fsync
                                     ◀──     acted{op_id,answer}   or   unable{message}, and the end

Newline-delimited JSON over a Unix socket, one connection an orchestrator process. The witness *is* the side effect:
nothing of it passes through the orchestrator's stores, so what was done can be counted whatever they lost.
"""

from __future__ import annotations

from typing import Literal

import msgspec

FILE = "ledger.jsonl"

Answer = Literal["performed", "replayed", "refused"]
"""`refused`: a higher token was seen before, so the sender was replaced; this is looked at first, so that one who was
replaced is never told that all is well. `replayed`: this operation id was performed before, and is not again."""


class Act(msgspec.Struct, tag_field="type", tag="act", frozen=True, gc=False):
    """Do this. `op_id` is the same however often it is sent; `token` is the sender's fencing token (0: none)."""

    workflow: str
    step: str
    op_id: str
    token: int = 0
    scope: str = ""  # tokens are compared within it: one orchestrator's succession of owners


class Acted(msgspec.Struct, tag_field="type", tag="acted", frozen=True, gc=False):
    """It is on disk."""

    op_id: str
    answer: Answer


class Unable(msgspec.Struct, tag_field="type", tag="unable", frozen=True, gc=False):
    """The witness cannot read what was sent, or cannot write; the connection ends. What was not answered may be on
    disk, so it is sent again with the same operation id, or given up as unknown."""

    message: str


class Effect(msgspec.Struct, tag_field="type", tag="effect", frozen=True, gc=False):
    """One line of the ledger: an act as it was received. `owner` is the ordinal of the process that sent it, as the
    kernel told the witness: 1 is the first that ever connected. So it is known who acted, whatever token was shown."""

    at: float  # s from t0
    workflow: str
    step: str
    op_id: str
    token: int
    owner: int
    answer: Answer
    pid: int = 0  # of that process, and when it was created (s since 1970): a witness that is started again knows it by
    created: float = 0.0
    scope: str = ""

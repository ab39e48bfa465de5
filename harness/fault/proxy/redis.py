"""Redis through a proxy: which commands are answered by us, and which replies never arrive, in order under pipelining.

TLS, SUBSCRIBE, MONITOR and CLIENT REPLY have no reply for each command: such a connection's bytes pass as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from harness.fault.proxy.attributes import RedisDropReply, RedisError, error_line
from harness.fault.proxy.redis_wire import Command, Commands, Replies
from harness.fault.proxy.speech import Rules, Spoken, Strange
from harness.fault.proxy.stage import End, Way

UNANSWERED = frozenset({"SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "MONITOR", "SYNC", "PSYNC"})
ENDS_MULTI = frozenset({"EXEC", "DISCARD", "RESET"})
DISCARD = b"*1\r\n$7\r\nDISCARD\r\n"
ABORTED = b"-EXECABORT Transaction discarded because of previous errors.\r\n"
WHAT_MAX = 100


@dataclass(frozen=True, slots=True)
class _Plan:
    """What the client is to hear instead of the server's reply."""

    reply: bytes = b""
    is_forwarded: bool = True  # so the server's own has to be dropped
    cuts: bool = False


class RedisSpeech:
    """One connection. (`harness.fault.proxy.speech.Speech`)"""

    def __init__(self, connection: Spoken) -> None:
        self._up = connection.up
        self._down = connection.down
        self._rules = Rules(connection)
        self._commands, self._replies = Commands(), Replies()
        self._unread = {connection.up: b"", connection.down: b""}
        self._asked = self._answered = 0  # commands so far, and replies that came whole
        self._plans: dict[int, _Plan] = {}
        self._passes = True  # the command whose bytes come now is forwarded
        self._instead = b""  # of the command that came last, and is not forwarded
        self._is_opaque = self._is_cut = self._is_doomed = False
        self._in_multi = self._is_spoilt = False

    def asked(self, data: bytes) -> None:
        up = self._up
        if self._is_opaque:
            up.take(data, self._asked)
            return
        buffer = self._unread[up] + data if self._unread[up] else data
        try:
            marks, end = self._commands.read(buffer)
        except Strange:
            self._understand_no_more(up, buffer)
            return
        self._unread[up] = buffer[end:]
        run = 0
        for offset, command in marks:
            before = self._asked
            passes = self._meet(command)
            if up.stages or passes != self._passes or self._instead:
                if self._passes and offset > run:
                    up.take(buffer[run:offset], before)
                run, self._passes = offset, passes
            if self._instead:
                up.take(self._instead, self._asked)
                self._instead = b""
        if self._is_opaque:
            self._understand_no_more(up, buffer[run:])
            return
        if self._passes and end > run:
            up.take(buffer[run:end], self._asked)
        self._settle()

    def answered(self, data: bytes) -> None:
        down = self._down
        if self._is_opaque or self._is_cut:
            if not self._is_cut:
                down.take(data, self._asked)
            return
        buffer = self._unread[down] + data if self._unread[down] else data
        try:
            ends, end = self._replies.read(buffer)
        except Strange:
            self._understand_no_more(down, buffer)
            return
        self._unread[down] = buffer[end:]
        if not self._plans and not down.stages:
            self._answered = min(self._asked, self._answered + sum(is_reply for _, is_reply in ends))
            if end:
                down.take(buffer[:end], self._answered)
            return
        run = 0
        for stop, is_reply in ends:
            self._reply(buffer[run:stop], is_reply=is_reply, is_whole=True)
            run = stop
        if end > run:
            self._reply(buffer[run:end], is_reply=not self._replies.is_push, is_whole=False)

    def ended(self, flow: Way) -> None:
        rest, self._unread[flow] = self._unread[flow], b""
        if rest and not self._is_cut:
            flow.take(rest, self._asked)

    def _meet(self, command: Command) -> bool:
        """A command begins: whether it is forwarded."""
        self._asked += 1
        name = command.name
        if self._is_doomed or self._is_opaque:
            return self._is_opaque
        if name in UNANSWERED or (name == "CLIENT" and (command.key or "").upper() == "REPLY"):
            self._is_opaque = True
            return True
        for toxic in self._rules.toxics():
            if _matches(toxic.attributes, command):
                what = " ".join(filter(None, (toxic.type, name, command.key)))[:WHAT_MAX]
                if self._rules.fire(toxic, self._asked, what):
                    return self._act(name, toxic.attributes)
        if name == "MULTI":
            self._in_multi, self._is_spoilt = True, False
        elif name in ENDS_MULTI and self._in_multi:
            self._in_multi = False
            if name == "EXEC" and self._is_spoilt:  # as Redis does after an error within
                return self._discard(ABORTED)
        return True

    def _discard(self, reply: bytes) -> bool:
        """The server gives the transaction up, and the client hears this."""
        self._in_multi = False
        self._instead = DISCARD
        self._plans[self._asked] = _Plan(reply)
        return False

    def _act(self, name: str, wanted: RedisError | RedisDropReply) -> bool:
        if isinstance(wanted, RedisError):
            if self._in_multi and name in ENDS_MULTI:
                return self._discard(error_line(wanted.error))
            self._plans[self._asked] = _Plan(error_line(wanted.error), is_forwarded=False)
            self._is_spoilt = self._in_multi
            return False
        self._plans[self._asked] = _Plan(cuts=True)
        self._is_doomed = True  # what comes behind it is not carried out: so much is certain
        return True

    def _reply(self, piece: bytes, *, is_reply: bool, is_whole: bool) -> None:
        if self._is_cut:
            return
        request = self._answered + 1
        plan = self._plans.get(request) if is_reply else None
        if plan is None:
            self._down.take(piece, request)
        elif is_whole and plan.cuts:
            self._is_cut = True
            self._down.end(End.CLOSE)
            return
        elif is_whole:
            self._down.take(plan.reply, request)
        if is_whole and is_reply and self._answered < self._asked:
            self._plans.pop(request, None)
            self._answered = request
            self._settle()

    def _settle(self) -> None:
        """Answers of our own whose turn has come."""
        while (plan := self._plans.get(self._answered + 1)) is not None and not plan.is_forwarded:
            self._answered += 1
            del self._plans[self._answered]
            self._down.take(plan.reply, self._answered)

    def _understand_no_more(self, flow: Way, buffer: bytes) -> None:
        self._is_opaque = True
        for each in (self._up, self._down):
            rest = buffer if each is flow else self._unread[each]
            self._unread[each] = b""
            if rest:
                each.take(rest, self._asked)


def _matches(wanted: object, command: Command) -> bool:
    if not isinstance(wanted, RedisError | RedisDropReply):
        return False
    name, key = command.name, command.key
    return any(fnmatchcase(name, each.strip().upper()) for each in wanted.command.split("|")) and (
        wanted.key == "*" or (key is not None and fnmatchcase(key, wanted.key))
    )

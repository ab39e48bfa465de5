"""PostgreSQL through a proxy: a COMMIT that is carried out, and that the client never hears of.

With TLS the bytes pass as they are: let the client connect without it (`sslmode=disable` or `prefer`).
"""

from __future__ import annotations

from harness.fault.proxy.attributes import PgCutCommit
from harness.fault.proxy.postgres_wire import Answers, Met, Questions
from harness.fault.proxy.speech import Rules, Spoken, Strange
from harness.fault.proxy.stage import End, Way


class PostgresSpeech:
    """One connection. (`harness.fault.proxy.speech.Speech`) A request is a cycle: see `postgres_wire`."""

    def __init__(self, connection: Spoken) -> None:
        self._up = connection.up
        self._down = connection.down
        self._rules = Rules(connection)
        self._questions = Questions()
        self._answers = Answers(self._questions)
        self._unread = {connection.up: b"", connection.down: b""}
        self._asked = self._answered = 0  # cycles that were asked for whole, and that were answered whole
        self._cycle = 1  # of the message whose bytes come now
        self._doomed: int | None = None  # the cycle whose answer is withheld
        self._is_opaque = self._is_cut = self._is_deaf = False

    def asked(self, data: bytes) -> None:
        up = self._up
        if self._is_opaque or self._is_deaf:
            if self._is_opaque:
                up.take(data, self._cycle)
            return
        buffer = self._unread[up] + data if self._unread[up] else data
        try:
            met, end = self._questions.read(buffer)
        except Strange:
            self._understand_no_more(up, buffer)
            return
        self._unread[up] = buffer[end:]
        run = 0
        for message in met:
            self._is_deaf = self._doomed is not None and self._asked >= self._doomed
            if (up.stages and self._cycle != self._asked + 1) or self._is_deaf:
                if message.offset > run:
                    up.take(buffer[run : message.offset], self._cycle)
                run = message.offset
            if self._is_deaf:  # what comes behind the COMMIT is not carried out: so much is certain
                self._unread[up] = b""
                return
            self._meet(message)
        if end > run:
            up.take(buffer[run:end], self._cycle)

    def answered(self, data: bytes) -> None:
        down = self._down
        if self._is_cut:
            return
        if self._is_opaque:
            down.take(data, self._asked)
            return
        buffer = self._unread[down] + data if self._unread[down] else data
        try:
            ends, end = self._answers.read(buffer)
        except Strange:
            self._understand_no_more(down, buffer)
            return
        self._unread[down] = buffer[end:]
        if self._doomed is None and not down.stages:
            self._answered += len(ends)
            if end:
                down.take(buffer[:end], self._answered)
            return
        run = 0
        for stop in ends:
            self._pass(buffer[run:stop])
            self._answered, run = self._answered + 1, stop
            if self._answered == self._doomed:
                self._is_cut = True
                down.end(End.CLOSE)
                return
        if end > run:
            self._pass(buffer[run:end])

    def ended(self, flow: Way) -> None:
        rest, self._unread[flow] = self._unread[flow], b""
        if rest and not self._is_cut:
            flow.take(rest, self._asked)

    def _meet(self, message: Met) -> None:
        """One of the client's begins; it is forwarded in any case."""
        self._cycle = self._asked + 1
        if (message.commits or message.is_alone) and self._doomed is None:
            for toxic in self._rules.toxics():
                meant = message.commits or (isinstance(toxic.attributes, PgCutCommit) and toxic.attributes.implicit)
                if meant and self._rules.fire(toxic, self._cycle, f"{toxic.type} COMMIT"):
                    self._doomed = self._cycle
                    break
        if message.ends_cycle:
            self._asked += 1

    def _pass(self, piece: bytes) -> None:
        """Bytes of the cycle that is being answered."""
        request = self._answered + 1
        if request != self._doomed:
            self._down.take(piece, request)

    def _understand_no_more(self, flow: Way, buffer: bytes) -> None:
        self._is_opaque = True
        for each in (self._up, self._down):
            rest = buffer if each is flow else self._unread[each]
            self._unread[each] = b""
            if rest:
                each.take(rest, self._cycle)

"""Why something asked of the proxy is not done, in Toxiproxy's words and status codes."""

from __future__ import annotations

from harness.errors import HarnessError

# Toxiproxy's own titles (its api.go): clients tell errors apart by these and by the status.
BAD_BODY = (400, "bad request body")
MISSING_FIELD = (400, "missing required field")
INVALID_STREAM = (400, "stream was invalid, can be either upstream or downstream")
INVALID_TOXIC = (400, "invalid toxic type")
NO_PROXY = (404, "proxy not found")
NO_TOXIC = (404, "toxic not found")
PROXY_EXISTS = (409, "proxy already exists")
TOXIC_EXISTS = (409, "toxic already exists")
# Ours.
BAD_ADDRESS = (400, "bad address")
CANNOT_LISTEN = (500, "cannot listen")
UNKNOWN_PATH = (404, "not found")
WRONG_METHOD = (405, "method not allowed")
BROWSER = (403, "user agent not allowed")


class Refusal(HarnessError):
    """Not done; `status` is HTTP's."""

    def __init__(self, kind: tuple[int, str], detail: str = "") -> None:
        self.status, title = kind
        super().__init__(f"{title}: {detail}" if detail else title)

"""What a scenario may get wrong about a black-box service: its calls, its rules and the process to watch.

A scenario may send load to this machine only, unless the caller allows more: a typing mistake must not become an
attack on somebody's server.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from harness.scenario.checks import Draft, at_least, positive
from harness.scenario.mistakes import KeyPath, Mistake
from harness.scenario.scenario import Http, HttpCall, HttpEvents, HttpPoll

POINTER = re.compile(r"(/([^~/]|~[01])*)*")  # RFC 6901
REFERENCE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")  # module:function
_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")  # of a template, as target/template.py reads one
_REPLY = re.compile(r"\{reply(/([^~/{}]|~[01])*)+\}")
_FIELDS = ("id", "kind", "seed", "input")


def check_http(draft: Draft) -> Iterator[Mistake]:
    """[http] and [watch] where, and only where, the target is a black box; and the rules on replies."""
    http, target = draft.scenario.http, draft.scenario.target
    if draft.target_kind == "http" and http is None:
        yield Mistake(("http",), 'target "http" needs a table [http] that says how to submit', reads=(("target",),))
    if draft.target_kind in ("embedded", "python", "other"):
        for table in ("http", "watch"):
            if draft.wrote(table):
                text = f"is for target 'http', and the target is {target!r}; remove one of them"
                yield Mistake((table,), text, reads=(("target",),))
    if http is not None:
        yield from _check_calls(draft, http)
        yield from _check_end(http)
        yield from _check_rules(draft, ("http", "expect"), http.expect)
    yield from _check_rules(draft, ("python", "expect"), draft.scenario.python.expect)
    yield from _check_watch(draft)


def _check_calls(draft: Draft, http: Http) -> Iterator[Mistake]:
    submit: HttpCall = http.submit
    yield from _check_url(draft, ("http", "submit", "url"), submit.url)
    yield from _check_template(draft, ("http", "submit", "headers"), submit.headers)
    yield from _check_template(draft, ("http", "submit", "json"), submit.json)
    if submit.json is not None and submit.method == "GET":
        yield Mistake(("http", "submit", "json"), "a GET has no body", reads=(("http", "submit"),))
    if http.poll is not None:
        # {reply/POINTER} is for this URL alone: only it is filled in after the answer to the submit.
        yield from _check_url(draft, ("http", "poll", "url"), _REPLY.sub("reply", http.poll.url))
        yield from positive(("http", "poll", "every"), http.poll.every)
    for position, status in enumerate(http.rejected_status):
        if status not in range(300, 600):
            yield Mistake(("http", "rejected_status", position), f"{status} is not an HTTP status of 300 to 599")


def _check_url(draft: Draft, path: KeyPath, url: str) -> Iterator[Mistake]:
    yield from _check_template(draft, path, url)
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port  # reading the port checks it
    except ValueError as error:
        yield Mistake(path, f"{url!r} is not a URL: {error}")
        return
    if parts.scheme not in ("http", "https") or not host:
        yield Mistake(path, f"{url!r} should be absolute: http://host:port/path")
    elif re.search(r"[\s\\\x00-\x1f]", url) or "{" in parts.netloc or "@" in parts.netloc:
        # Each of these lets a URL mean another host to the client than it does here.
        yield Mistake(path, f"{url!r} should have a plain host: no spaces, backslashes, templates or user names in it")
    elif not draft.allow_remote and not _is_loopback(host):
        text = f"host {host!r} is not this machine; use 127.0.0.1, ::1 or localhost, or allow it with --allow-remote"
        yield Mistake(path, text)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name, which may lead anywhere
        return False


def _check_template(draft: Draft, path: KeyPath, template: Any) -> Iterator[Mistake]:
    """Placeholders anywhere in a JSON value must be ones that every workflow can fill in. Keys are no templates."""
    if isinstance(template, Mapping):
        for key, value in template.items():
            yield from _check_template(draft, (*path, key), value)
    elif isinstance(template, (list, tuple)):
        for position, value in enumerate(template):
            yield from _check_template(draft, (*path, position), value)
    elif isinstance(template, str):
        tokens = {match[0]: match[1] for match in _TOKEN.finditer(template)}
        for token, name in tokens.items():
            if token in ("{", "}"):
                yield Mistake(path, f"has a lone {token!r}; write {token * 2!r} for a plain brace")
            elif name is not None:
                yield from _check_placeholder(draft, path, name)


def _check_placeholder(draft: Draft, path: KeyPath, name: str) -> Iterator[Mistake]:
    if name in _FIELDS:
        return
    if not name.startswith("input."):
        known = "{id}, {kind}, {seed}, {input}, {input.KEY}"
        yield Mistake(path, f"template {{{name}}} is unknown (known: {known})")
        return
    key = name.removeprefix("input.")
    for position, workflow in enumerate(draft.scenario.workflow):
        if key not in workflow.input:
            text = f"template {{{name}}}: workflow {workflow.kind!r} has no {key!r} in its input"
            here = ("workflow", position)
            yield Mistake(path, text, reads=(path, (*here, "input", key), (*here, "kind")))


def _check_end(http: Http) -> Iterator[Mistake]:
    """How the end of a workflow is told: it must be possible to end, and to end well."""
    if http.poll is not None and http.events is not None:
        text = "should have at most one of poll and events: a workflow has one end"
        yield Mistake(("http",), text, reads=(("http", "poll"), ("http", "events")))
    yield from _check_pointers(("http", "ok"), http.ok)
    if http.poll is not None:
        yield from _check_poll(http.poll)
    if http.events is not None:
        yield from _check_events(http.events)
    if http.steps is not None:
        for key in ("at", "agent", "started", "ended"):
            yield from _check_pointers(("http", "steps"), (getattr(http.steps, key),), key)


def _check_poll(poll: HttpPoll) -> Iterator[Mistake]:
    path = ("http", "poll")
    yield from _check_pointers((*path, "until"), poll.until)
    yield from _check_pointers((*path, "ok"), poll.ok)
    if not any(poll.until.values()):
        yield Mistake((*path, "until"), 'should name values that mean the end, as { "/status" = ["completed"] }')
    if not poll.ok:
        yield Mistake((*path, "ok"), 'should say what success is, as { "/status" = "completed" }')
    for pointer, value in poll.ok.items():
        # With several pointers in `until`, another one may end the workflow.
        if set(poll.until) == {pointer} and value not in poll.until[pointer]:
            here = (*path, "ok", pointer)
            text = f"{value!r} is not among the values of until, so no workflow could succeed"
            yield Mistake(here, text, reads=(here, (*path, "until")))


def _check_events(events: HttpEvents) -> Iterator[Mistake]:
    path = ("http", "events")
    if not events.until:
        yield Mistake((*path, "until"), "should name the events that mean the end")
    if not events.ok:
        yield Mistake((*path, "ok"), "should name the events that mean success")
    for position, name in enumerate(events.ok):
        if name not in events.until:
            here = (*path, "ok", position)
            yield Mistake(here, f"{name!r} is not among the events of until", reads=(here, (*path, "until")))


def _check_pointers(path: KeyPath, pointers: Iterable[str], key: str | None = None) -> Iterator[Mistake]:
    for pointer in pointers:
        if not POINTER.fullmatch(pointer):
            text = f'{pointer!r} is not a JSON pointer: it starts with "/", as in "/status", or is empty'
            yield Mistake((*path, key or pointer), text)


def _check_rules(draft: Draft, path: KeyPath, expect: Mapping[str, Any]) -> Iterator[Mistake]:
    yield from _check_pointers(path, expect)
    for pointer, rule in expect.items():
        here = (*path, pointer)
        if rule == "exists":
            continue
        if isinstance(rule, Mapping) and set(rule) == {"equals"}:
            yield from _check_template(draft, (*here, "equals"), rule["equals"])
        elif isinstance(rule, Mapping) and set(rule) == {"python"}:
            if not isinstance(rule["python"], str) or not REFERENCE.fullmatch(rule["python"]):
                yield Mistake((*here, "python"), f'{rule["python"]!r} should be "module:function"')
        else:
            text = f'{rule!r} should be "exists", {{ equals = … }} or {{ python = "module:function" }}'
            yield Mistake(here, text)


def _check_watch(draft: Draft) -> Iterator[Mistake]:
    watch = draft.scenario.watch
    if watch is None:
        return
    ways = {"pid": watch.pid, "port": watch.port, "command": watch.command}
    given = [key for key, value in ways.items() if value is not None]
    if len(given) != 1:
        text = f"should have exactly one of pid, port and command{', not ' + ' and '.join(given) if given else ''}"
        yield Mistake(("watch",), text)
    if watch.pid is not None:
        yield from at_least(("watch", "pid"), watch.pid, 1)
    if watch.port is not None and watch.port not in range(1, 65536):
        yield Mistake(("watch", "port"), f"should lie in 1..65535, not {watch.port}")
    if watch.command is not None and not watch.command.strip():
        yield Mistake(("watch", "command"), "should not be empty: it would match every process")

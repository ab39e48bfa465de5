"""Loading a scenario: every mistake at once, each with its place and the way out; never another exception."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from harness.errors import UsageError
from harness.scenario.loading import Known, list_scenarios, load_scenario
from harness.scenario.scenario import Scenario, Think, Work

KNOWN = Known(targets={"embedded", "http"}, models={"haiku-4.5", "sonnet-4"})

EMBEDDED = """\
name = "x"
description = "One agent, one step."
[load]
closed = [10]
[[workflow]]
kind = "one"
steps = [{ name = "triage", agent = "triage" }]
[agent.triage]
work = { think = { model = "haiku-4.5" }, cpu = "3 ms", memory = "1 MiB", failure = "5 %" }
"""
HTTP = """\
name = "x"
description = "A service that is asked until it is done."
target = "http"
[load]
open = ["6/s"]
arrivals = "constant"
[[workflow]]
kind = "question"
input = { text = "Why?" }
[http]
steps = { at = "/steps" }
expect = { "/output" = "exists", "/id" = { equals = "{id}" }, "" = { python = "rules:whole" } }
[http.submit]
url = "http://127.0.0.1:8000/jobs"
headers = { x-id = "{id}" }
json = { q = "{input.text}", all = ["{input}"] }
[http.poll]
url = "http://localhost:8000/jobs/{id}"
until = { "/status" = ["done", "failed"] }
ok = { "/status" = "done" }
[watch]
port = 8000
"""
EVENTS = """\
name = "x"
description = "A service that streams."
target = "http"
[load]
burst = [20]
burst_size = 5
[[workflow]]
kind = "question"
[http]
submit = { url = "http://[::1]:8000/jobs" }
events = { until = ["done", "error"], ok = ["done"] }
"""
PYTHON = """\
name = "x"
description = "A function of ours."
target = "python:my_bot.flow:run"
[load]
closed = [1]
[[workflow]]
kind = "question"
[python]
expect = { "/answer" = "exists" }
"""

Load = Callable[..., Scenario]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Loads a text as the file x.toml."""

    def load(text: str, *, allow_remote: bool = False) -> Scenario:
        path = tmp_path / "x.toml"
        path.write_text(text)
        return load_scenario(path, known=KNOWN, allow_remote=allow_remote)

    return load


def mistakes_of(load: Load, text: str, **options: bool) -> list[str]:
    """What the loader complains about, from the line number on."""
    with pytest.raises(UsageError) as caught:
        load(text, **options)
    return [mistake.partition("x.toml")[2].lstrip(":").strip() for mistake in caught.value.mistakes]


def changed(text: str, old: str, new: str) -> str:
    """`text` with one replacement that is certain to have happened."""
    assert text.count(old) == 1, f"{old!r} occurs {text.count(old)} times"
    return text.replace(old, new)


def test_units_become_numbers(load: Load) -> None:
    """Durations load as seconds, sizes as bytes and shares as fractions; what is left out has its default."""
    scenario = load(EMBEDDED)
    assert scenario.agent["triage"].work == Work(think=Think(model="haiku-4.5"), cpu=3e-3, memory=2**20, failure=0.05)
    assert scenario.load.closed == (10,)
    assert (scenario.load.measure, scenario.load.drain) == (22.0, 30.0)


@pytest.mark.parametrize("text", [EMBEDDED, HTTP, EVENTS, PYTHON], ids=["embedded", "http", "events", "python"])
def test_every_kind_of_target_loads(load: Load, text: str) -> None:
    """A sound file of each kind has no mistakes."""
    assert load(text).name == "x"


def test_all_mistakes_come_at_once_in_the_order_of_their_lines(load: Load) -> None:
    """Mistakes of form and of meaning are reported together, each with line, key path and the way out."""
    text = dedent("""\
        name = "y"
        description = "d"
        seed = -1
        time_scale = nan
        [load]
        closed = [10,
          "ten"]
        measure = 5
        warmpu = "3 s"
        drain = "0 s"
        [[workflow]]
        kind = "a"
        wieght = 2
        shape = "seqential"
        [[workflow]]
        kind = "b"
        shape = "sequential"
        deadline = 1979-05-27
        [agent.data]
        pool = 0
        work = { memory = "5" }
        [agent.triage]
        """)
    found = mistakes_of(load, text)
    assert [mistake.partition(": ")[0] for mistake in found] == [
        *("1", "3", "4", "7", "8", "9", "10", "13", "14", "17", "18", "20", "21"),
    ]
    assert found[0] == "1: name: 'y' differs from the file's name; write 'x'"
    assert found[3] == "7: load.closed[1]: should be a valid integer, not 'ten'"
    assert found[5].startswith("9: load.warmpu: unknown key; did you mean 'warmup'? (known: arrivals, ")
    assert found[7].startswith("13: workflow[0].wieght: unknown key; did you mean 'weight'?")
    assert found[8].startswith("14: workflow[0].shape: shape 'seqential' is unknown; did you mean 'sequential'?")
    assert found[9].endswith("add [agent.optimization]")


def test_a_mistake_is_not_reported_again_by_its_consequences(load: Load) -> None:
    """A mistyped table is one mistake: agents in it do not count as undeclared, nor the load as missing."""
    text = changed(changed(EMBEDDED, "[agent.triage]", "[agnet.triage]"), "closed", "closde")
    found = mistakes_of(load, text)
    assert len(found) == 2
    assert "load.closde: unknown key; did you mean 'closed'?" in found[0]
    assert "agnet: unknown key; did you mean 'agent'?" in found[1]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("closed = [10]", "closed = []", "4: load.closed: should name at least one level"),
        ("closed = [10]", "", "3: load: should have exactly one of closed, open and burst, for example"),
        ("closed = [10]", 'closed = [10]\nopen = ["6/s"]', "3: load: should have exactly one of closed"),
        ("closed = [10]", "closed = [10, 0]", "4: load.closed[1]: should lie between 1 and 100,000, not 0"),
        ("closed = [10]", "closed = [10, 10]", "4: load.closed: level '10' is given more than once"),
        ("closed = [10]", 'open = ["6/s", "360/min"]', "4: load.open: level '6/s' is given more than once"),
        ("closed = [10]", 'open = ["6/s"]\nstep_shares = ["50 %"]', "5: load.step_shares: is read only with arrivals"),
        ("closed = [10]", 'open = ["6/s"]\narrivals = "steps"\nstep_shares = ["150 %"]', "step_shares[0]: should be"),
        ("closed = [10]", "closed = [10]\nburst_size = 5", "5: load.burst_size: has no effect on closed load"),
        ("closed = [10]", 'closed = [10]\narrivals = "poisson"', "5: load.arrivals: has no effect on closed load"),
        ("closed = [10]", "closed = [10]\nin_flight_max = 5", "5: load.in_flight_max: has no effect on closed load"),
        ("closed = [10]", 'burst = [10]\nburst_every = "1 s"', "5: load.burst_every: has no effect without burst_size"),
        ("closed = [10]", "burst = [10]\nburst_size = 0", "5: load.burst_size: should be at least 1"),
        ("closed = [10]", 'burst = [50]\nburst_size = 10\nmeasure = "4 s"', "would come 4 s into a measure of 4 s"),
        ("closed = [10]", 'closed = [10]\nmeasure = "0 s"', "5: load.measure: should be above 0"),
        ("closed = [10]", 'closed = [10]\nwarmup = "-1 s"', "5: load.warmup: '-1 s' is not a duration"),
        ("closed = [10]", 'closed = [10]\nmeasure = "1e999 s"', "5: load.measure: '1e999 s' is not a duration"),
        ("closed = [10]", "closed = [10]\nuntil_ok = 0", "5: load.until_ok: should be at least 1"),
        ('kind = "one"', 'kind = "one"\nweight = 0', "7: workflow[0].weight: should be at least 1, not 0"),
        ('kind = "one"', 'kind = "one"\nshape = "sequential"', "5: workflow[0]: should have exactly one of"),
        ('kind = "one"', 'kind = "one"\ninput = { a = 1 }', "7: workflow[0].input: the embedded target reads no input"),
        ('kind = "one"', 'kind = "one"\nwork.triaeg = {}', "work.triaeg: agent of this workflow 'triaeg' is"),
        ('agent = "triage"', 'agent = "triage", needs = ["triage"]', "needs[0]: 'triage' comes later or is this"),
        ('agent = "triage"', 'agent = "triage", needs = ["x"]', "needs[0]: earlier step 'x' is unknown (known: none)"),
        ("[agent.triage]", "[agent.spare]\n[agent.triage]", "8: agent.spare: is declared, but no workflow has a step"),
        ('"haiku-4.5"', '"haiku-4"', "work.think.model: model 'haiku-4' is unknown; did you mean 'haiku-4.5'?"),
        ('"5 %"', '"500 %"', "9: agent.triage.work.failure: should lie between 0 % and 100 %, not 500%"),
        ("[agent.triage]", "[orchestrator]\nslots = 0\n[agent.triage]", "9: orchestrator.slots: should be at least 1"),
        ("[agent.triage]", "[orchestrator]\nqueue = -1\n[agent.triage]", "9: orchestrator.queue: should be at least 0"),
        ("[agent.triage]", "[python]\n[agent.triage]", "8: python: has rules for a target python:"),
        ("[agent.triage]", "[watch]\npid = 1\n[agent.triage]", "8: watch: is for target 'http', and the target"),
        ("[load]", "time_scale = 0.0\n[load]", "3: time_scale: should be above 0"),
        ("[load]", "seed = 9223372036854775808\n[load]", "3: seed: is not a 64-bit integer"),
        ("[load]", 'target = "embeded"\n[load]', "3: target: target 'embeded' is unknown; did you mean 'embedded'?"),
        ("[load]", 'target = "python:my bot:run"\n[load]', "3: target: target 'python:my bot:run' is unknown"),
        ("One agent, one step.", "Two\\nlines", "2: description: should be one line"),
    ],
)  # fmt: skip
def test_embedded_mistakes(load: Load, old: str, new: str, expected: str) -> None:
    """One change to a sound file gives exactly that one mistake."""
    found = mistakes_of(load, changed(EMBEDDED, old, new))
    assert len(found) == 1, found
    assert expected in found[0]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('url = "http://127.0.0.1:8000/jobs"', 'url = "http://example.org/jobs"', "host 'example.org' is not this"),
        ('url = "http://127.0.0.1:8000/jobs"', 'url = "http://127.0.0.1@example.org/"', "should have a plain host"),
        ('url = "http://127.0.0.1:8000/jobs"', 'url = "http://{id}.localhost/"', "should have a plain host"),
        ('url = "http://127.0.0.1:8000/jobs"', 'url = "/jobs"', "'/jobs' should be absolute"),
        ('url = "http://127.0.0.1:8000/jobs"', 'url = "http://127.0.0.1:port/"', "is not a URL"),
        ('url = "http://127.0.0.1:8000/jobs"', 'url = "http://[::1/"', "is not a URL"),
        ("http://localhost:8000", "http://10.0.0.1:8000", "http.poll.url: host '10.0.0.1' is not this machine"),
        ('"{input.text}"', '"{input.txt}"', "template {input.txt}: workflow 'question' has no 'txt' in its input"),
        ('["{input}"]', '["{user}"]', "http.submit.json.all[0]: template {user} is unknown (known: {id}, {kind}"),
        ('equals = "{id}"', 'equals = "{ID}"', 'http.expect."/id".equals: template {ID} is unknown'),
        ('"/status" = ["done"', '"status" = ["done"', "http.poll.until.status: 'status' is not a JSON pointer"),
        ('ok = { "/status" = "done" }', 'ok = { "/status" = "ok" }', "'ok' is not among the values of until"),
        ('ok = { "/status" = "done" }', "ok = {}", "http.poll.ok: should say what success is"),
        ('"/output" = "exists"', '"/output" = "exist"', "'exist' should be \"exists\", { equals = "),
        ('"rules:whole"', '"rules.whole"', "should be \"module:function\""),
        ('at = "/steps"', 'at = "steps"', "http.steps.at: 'steps' is not a JSON pointer"),
        ("[http]\n", "[http]\nevents = { until = ['end'], ok = ['end'] }\n", "http: should have at most one of"),
        ("[http]\n", "[http]\nrejected_status = [200]\n", "http.rejected_status[0]: 200 is not an HTTP status"),
        ("port = 8000", "port = 70000", "watch.port: should lie in 1..65535"),
        ("port = 8000", "port = 8000\npid = 1", "exactly one of pid, port and command, not pid and port"),
        ("port = 8000", "", "watch: should have exactly one of pid, port and command"),
        ("port = 8000", 'command = " "', "watch.command: should not be empty"),
        ('kind = "question"', 'kind = "question"\nshape = "sequential"', "workflow[0].shape: only the embedded target"),
        ("[watch]", "[orchestrator]\n[watch]", "orchestrator: only the embedded target reads this"),
        ("[watch]", "[agent.triage]\n[watch]", "agent: only the embedded target reads this"),
    ],
)  # fmt: skip
def test_http_mistakes(load: Load, old: str, new: str, expected: str) -> None:
    """One change to a sound file gives exactly that one mistake."""
    found = mistakes_of(load, changed(HTTP, old, new))
    assert len(found) == 1, found
    assert expected in found[0]


def test_a_black_box_needs_its_table(load: Load) -> None:
    """Target http without [http] says what is missing."""
    text = EVENTS[: EVENTS.index("[http]")]
    assert mistakes_of(load, text) == ['http: target "http" needs a table [http] that says how to submit']


def test_success_must_be_one_of_the_events_that_end_a_stream(load: Load) -> None:
    """An event that does not end the workflow cannot mean that it ended well."""
    (mistake,) = mistakes_of(load, changed(EVENTS, 'ok = ["done"]', 'ok = ["finished"]'))
    assert mistake == "11: http.events.ok[0]: 'finished' is not among the events of until"


def test_other_hosts_can_be_allowed(load: Load) -> None:
    """What --allow-remote permits is remote hosts, not hosts that depend on a template."""
    remote = changed(HTTP, "http://localhost:8000", "https://example.org")
    assert load(remote, allow_remote=True).http is not None
    assert len(mistakes_of(load, changed(remote, "example.org", "{kind}.example.org"), allow_remote=True)) == 1


def test_names_of_workflows_and_steps_are_unique(load: Load) -> None:
    """A second workflow of one kind, or a second step of one name, is named."""
    twice = '{ name = "triage", agent = "triage" }, { name = "triage", agent = "triage" }'
    text = changed(EMBEDDED, '{ name = "triage", agent = "triage" }', twice)
    text += '[[workflow]]\nkind = "one"\nsteps = [{ name = "triage", agent = "triage" }]\n'
    assert mistakes_of(load, text) == [
        "7: workflow[0].steps[1].name: 'triage' is the name of an earlier step too",
        "11: workflow[1].kind: 'one' is the kind of an earlier workflow too",
    ]


def test_agents_are_declared_and_used(load: Load) -> None:
    """A mistyped agent of a step is both: one that is not declared, and a declared one that nothing uses."""
    assert mistakes_of(load, changed(EMBEDDED, 'agent = "triage"', 'agent = "triaje"')) == [
        "7: workflow[0].steps[0].agent: agent 'triaje' is not declared; did you mean 'triage', or add [agent.triaje]",
        "8: agent.triage: is declared, but no workflow has a step for it",
    ]


def test_a_syntax_error_names_its_line(load: Load) -> None:
    """What is not TOML at all is one mistake, with its line."""
    (mistake,) = mistakes_of(load, changed(EMBEDDED, "closed = [10]", "closed = = 3"))
    assert mistake.startswith("4: is not TOML: ")


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"a = " + b"9" * 5000, b"a = " + b"[" * 5000], ids=["bytes", "digits", "brackets"]
)
def test_unreadable_content_is_a_usage_error(tmp_path: Path, content: bytes) -> None:
    """Files that make the TOML parser raise its less known exceptions are reported like any other."""
    path = tmp_path / "x.toml"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"x\.toml"):
        load_scenario(path, known=KNOWN)


def test_an_unknown_file_names_its_neighbours(tmp_path: Path) -> None:
    """The nearest scenario of the folder is offered, and all of them listed."""
    (tmp_path / "chain_sequential.toml").write_text("")
    (tmp_path / "soak.toml").write_text("")
    with pytest.raises(UsageError) as caught:
        load_scenario(tmp_path / "chain_sequental.toml", known=KNOWN)
    assert f"did you mean '{tmp_path / 'chain_sequential.toml'}'? (there: chain_sequential, soak)" in str(caught.value)
    with pytest.raises(UsageError, match="there is no folder"):
        load_scenario(tmp_path / "nowhere" / "x.toml", known=KNOWN)


def test_values_that_json_cannot_hold_are_refused_anywhere(load: Load) -> None:
    """A run's files are JSON: a date or an infinity in a free-form input is found before anything starts."""
    text = changed(HTTP, 'text = "Why?"', 'text = "Why?", when = 2026-01-01, far = [inf]')
    found = mistakes_of(load, text)
    assert [mistake.split(": ")[1] for mistake in found] == ["workflow[0].input.when", "workflow[0].input.far[0]"]


def test_a_list_in_the_place_of_a_table_is_named_with_what_is_wrong_inside(load: Load) -> None:
    """Found by the property test: a value that JSON cannot hold, where a table should be."""
    found = mistakes_of(load, changed(HTTP, "[watch]\nport = 8000", "[[watch]]\nport = 1979-05-27"))
    assert [mistake.split(": ")[1] for mistake in found] == ["watch", "watch[0].port"]


def test_scenarios_are_listed_with_their_descriptions(tmp_path: Path) -> None:
    """A file that cannot be read stays in the list, with the reason."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "b.toml").write_text(EMBEDDED)
    (tmp_path / "deep" / "a.toml").write_text("description = ")
    (path_b, name_b, text_b), (path_a, name_a, text_a) = list_scenarios(tmp_path)
    assert (path_b, name_b, text_b) == (tmp_path / "b.toml", "b", "One agent, one step.")
    assert (path_a, name_a) == (tmp_path / "deep" / "a.toml", "a")
    assert "is not TOML" in text_a
    with pytest.raises(UsageError, match="there is no folder"):
        list_scenarios(tmp_path / "nowhere")


def test_importing_the_loader_does_not_import_pydantic() -> None:
    """`harness --help` imports the loader and must stay quick."""
    program = "import sys, harness.scenario.loading; print('pydantic' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"


def test_the_sound_files_of_this_test_are_toml() -> None:
    """The mutations above start from files without a duplicated or misplaced key."""
    assert all(tomllib.loads(text)["name"] == "x" for text in (EMBEDDED, HTTP, EVENTS, PYTHON))


def test_a_name_that_cannot_be_part_of_a_files_name_is_refused(tmp_path: Path) -> None:
    """A run's folder is called after it."""
    path = tmp_path / "a|b.toml"
    path.write_text(EMBEDDED.replace('name = "x"', 'name = "a|b"'))
    with pytest.raises(UsageError, match="names files and folders"):
        load_scenario(path, known=KNOWN)


def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path: Path) -> None:
    """Some editors write one."""
    path = tmp_path / "x.toml"
    path.write_bytes(b"\xef\xbb\xbf" + EMBEDDED.encode())
    assert load_scenario(path, known=KNOWN).name == "x"


@pytest.mark.parametrize(
    ("levels", "words"),
    [
        ("closed = [99999999999]", "should lie between 1 and 100,000"),
        ('open = ["1e99/s"]', "should lie between 0.001 and 1,000,000"),
        ('closed = [1]\nmeasure = "1e99 s"', "should be at most 168 h"),
    ],
)
def test_a_load_that_no_process_can_drive_is_refused(load: Load, levels: str, words: str) -> None:
    """Before anything is started, rather than by a run that never ends."""
    assert any(words in mistake for mistake in mistakes_of(load, changed(EMBEDDED, "closed = [10]", levels)))

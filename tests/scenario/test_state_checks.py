"""What a scenario may get wrong about state, shared documents, crashes and outages is said with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.run.plan import Options, prepare
from harness.scenario.loading import Known, load_scenario

HEAD = """name = "x"
description = "a scenario of a test"
{target}
[load]
closed = [10]
measure = "10 s"
"""
EMBEDDED = '[[workflow]]\nkind = "job"\nsteps = [{ name = "one", agent = "data" }]\n[agent.data]\n'
KNOWN = Known(targets={"embedded", "http"}, models={"haiku-4.5"})


def mistakes(folder: Path, text: str, target: str = "") -> list[str]:
    """Of a scenario with this text after its head, without the file's name."""
    path = folder / "x.toml"
    path.write_text(HEAD.format(target=target) + text)
    with pytest.raises(UsageError) as error:
        load_scenario(path, known=KNOWN)
    return [mistake.split(": ", 1)[1] for mistake in error.value.mistakes]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[state]\nstore = "redis"\nlease = "0 s"\n', "state.lease: should be above 0"),
        ('[state]\nstore = "redis"\nttl = "0 s"\n', "state.ttl: should be above 0"),
        (
            "[state]\nfallback = true\n",
            'state.fallback: is what happens while Redis is away, and the store is "memory"',
        ),
        ('[state]\nstore = "redis"\npool = 5\n', "state.pool: is of connections to PostgreSQL, and the store is"),
        ('[state]\nstore = "postgres"\npool = 0\n', "state.pool: should be at least 1"),
        ('[state]\nqueue = "redis"\n', "state.queue: a durable queue of workflows that only memory knows of"),
        ('[state]\nstore = "rediss"\n', "state.store: "),
        ('[crash]\nkill = ["after_ack"]\n', "crash: what only memory knows is lost with its process"),
        ('[state]\nstore = "redis"\n[crash]\n', "crash: names no point"),
        ('[state]\nstore = "redis"\n[crash]\nkill = ["between_stores"]\n', "crash: there is nothing between stores"),
        ('[state]\nstore = "redis"\n[crash]\nkill = ["after_effect"]\n', "crash: no agent has an effect"),
        ('[state]\nstore = "redis"\n[crash]\nkill = ["lunch"]\n', "crash.kill[0]: "),
        ('[[outage]]\nservice = "redis"\nat = "1 s"\nlasts = "1 s"\n', "outage[0].service: redis is not used"),
        (
            '[state]\nstore = "redis"\n[[outage]]\nservice = "redis"\nat = "8 s"\nlasts = "3 s"\n',
            "outage[0]: ends 11 s into a measure of 10 s",
        ),
        (
            '[state]\nstore = "redis"\n'
            '[[outage]]\nservice = "redis"\nat = "1 s"\nlasts = "5 s"\n'
            '[[outage]]\nservice = "redis"\nat = "2 s"\nlasts = "1 s"\n',
            "outage[1]: overlaps outage[0], with which redis is away already",
        ),
        ("[shared.board]\n", "shared.board: is declared, but no agent's work updates it"),
        ("[shared.board]\nattempts = 0\n", "shared.board.attempts: should be at least 1"),
    ],
)
def test_a_mistake_names_its_place(tmp_path: Path, text: str, said: str) -> None:
    """And says what would be right."""
    found = mistakes(tmp_path, text + EMBEDDED)
    assert any(mistake.startswith(said) for mistake in found), found


def test_an_update_of_what_is_not_shared(tmp_path: Path) -> None:
    """The nearest document is named."""
    text = "[shared.board]\n" + EMBEDDED + 'work = { update = ["bord"] }\n'
    found = mistakes(tmp_path, text)
    assert any("agent.data.work.update[0]" in each and "did you mean 'board'" in each for each in found), found


def test_another_target_reads_none_of_it(tmp_path: Path) -> None:
    """But a Python target may ask for servers."""
    text = '[state]\nstore = "redis"\nttl = "1 s"\n[crash]\nkill = ["after_ack"]\n[[workflow]]\nkind = "job"\n'
    found = mistakes(tmp_path, text, 'target = "python:a:b"')
    assert {each.split(":")[0] for each in found} == {"state.ttl", "crash"}


def test_the_command_line_cannot_choose_what_does_not_go_together(tmp_path: Path) -> None:
    """A crash with state in memory is refused before anything starts."""
    path = tmp_path / "x.toml"
    crash = '[state]\nstore = "redis"\n[crash]\nkill = ["after_ack"]\n'
    path.write_text(HEAD.format(target="") + crash + EMBEDDED)
    prepare(path, Options(), command="")
    prepare(path, Options(state="postgres"), command="")
    with pytest.raises(UsageError, match="with --state memory: crash: what only memory knows"):
        prepare(path, Options(state="memory"), command="")


def test_a_black_box_keeps_its_own_state(tmp_path: Path) -> None:
    """`--state` has nothing to say to it."""
    path = tmp_path / "x.toml"
    call = 'submit = { url = "http://127.0.0.1:9/" }'
    path.write_text(HEAD.format(target='target = "http"') + f'[http]\n{call}\n[[workflow]]\nkind = "job"\n')
    with pytest.raises(UsageError, match="a black box keeps its own state"):
        prepare(path, Options(state="redis"), command="")

"""What does not go with several instances of a target is said with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.scenario.loading import load_scenario
from tests.scenario.test_state_checks import EMBEDDED, HEAD, KNOWN, mistakes


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[fleet]\nsize = 0\n", "fleet.size: should be from 1 to 64, not 0"),
        ("[fleet]\nsize = 65\n", "fleet.size: should be from 1 to 64, not 65"),
        ('[fleet]\nsize = 2\nbalance = "luck"\n', "fleet.balance: "),
        (
            '[fleet]\nsize = 2\n[state]\nstore = "redis"\n[crash]\nkill = ["before_claim"]\n',
            "crash: does not go with a fleet of 2",
        ),
        (
            '[fleet]\nsize = 3\n[state]\nstore = "redis"\n[[outage]]\nservice = "redis"\nat = "1 s"\nlasts = "1 s"\n',
            "outage: does not go with a fleet of 3",
        ),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, said: str) -> None:
    """With the way out."""
    found = mistakes(tmp_path, text + EMBEDDED)
    assert any(each.startswith(said) for each in found), found


def test_a_black_box_has_one_address(tmp_path: Path) -> None:
    """Its own balancer stands there."""
    http = '[http]\nsubmit = { url = "http://127.0.0.1:9/" }\n[[workflow]]\nkind = "job"\n'
    assert any(
        "put a balancer there" in each for each in mistakes(tmp_path, "[fleet]\nsize = 2\n" + http, 'target = "http"')
    )


def test_a_fleet_is_read(tmp_path: Path) -> None:
    """And none is one instance."""
    path = tmp_path / "x.toml"
    path.write_text(HEAD.format(target="") + '[fleet]\nsize = 2\nbalance = "least_loaded"\n' + EMBEDDED)
    fleet = load_scenario(path, known=KNOWN).fleet
    assert fleet is not None
    assert (fleet.size, fleet.balance) == (2, "least_loaded")
    path.write_text(HEAD.format(target="") + EMBEDDED)
    assert load_scenario(path, known=KNOWN).fleet is None

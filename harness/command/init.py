"""`harness init`: a scenario, its limits and a target to begin with, in a folder of the user's own."""

from __future__ import annotations

import importlib.util
import keyword
import os
import shlex
from collections.abc import Iterator
from pathlib import Path

import click

from harness.command.arguments import FOLDER
from harness.errors import HarnessError, UsageError

STARTER = Path(__file__).parent / "starter"
PLACEHOLDER = "NAME"
FILES = {
    "python": {
        "scenarios/NAME.toml": "python.toml",
        "scenarios/NAME.py": "python.py.txt",
        "baselines/NAME.toml": "python_limits.toml",
    },
    "http": {"scenarios/NAME.toml": "http.toml", "baselines/NAME.toml": "http_limits.toml"},
}
"""Kind of target -> where each file goes, and what it is made of."""
NEXT = {
    "python": 'harness run {name} --level 10 --measure "5 s"',
    "http": "harness check {name}",
}


@click.command()
@click.argument("folder", type=FOLDER, default=Path())
@click.option("--target", type=click.Choice(list(FILES)), default="python", show_default=True,
              help="What is tested: an async function, or a service that speaks HTTP.")  # fmt: skip
@click.option("--name", default="my_bot", show_default=True, help="Of the scenario, and of the function's module.")
def init(folder: Path, target: str, name: str) -> None:
    """Write a scenario, its limits and a target of your own into FOLDER (here, if none is named).

    Nothing is overwritten. What is written runs as it stands.
    """
    if mistake := _name_mistake(name, target):
        raise UsageError(f"--name {name}: {mistake}")
    files = {
        folder / place.replace(PLACEHOLDER, name): (STARTER / source).read_text(encoding="utf-8")
        for place, source in FILES[target].items()
    }
    if in_the_way := list(dict.fromkeys(text for path in files for text in _in_the_way(path))):
        raise UsageError(in_the_way)
    for path, text in files.items():
        _write(path, text.replace(PLACEHOLDER, name))
        click.echo(f"wrote {path}")
    go = "" if folder.resolve() == Path.cwd() else f"cd {shlex.quote(str(folder))} && "
    click.echo(f"\nnext: {go}{NEXT[target].format(name=name)}")


def _name_mistake(name: str, target: str) -> str | None:
    """Why it cannot be the name of a scenario and of a module; None when it can."""
    if not (name.isascii() and name.isidentifier() and name[0].isalpha()) or keyword.iskeyword(name):
        return "use letters, digits and '_', and begin with a letter: it names files and a Python module"
    if target == "python" and importlib.util.find_spec(name) is not None:
        return "there is a Python module of that name, which yours would hide; choose another"
    return None


def _in_the_way(path: Path) -> Iterator[str]:
    """What keeps a new file from being written there, a link that leads nowhere included."""
    if os.path.lexists(path):
        yield f"{path}: is there already; choose another --name, or move it away"
    for parent in path.parents:
        if os.path.lexists(parent) and not parent.is_dir():
            yield f"{parent}: is not a folder, and one is needed there; move it away"


def _write(path: Path, text: str) -> None:
    """Write a new file, and the folders it needs."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:  # never over what came there since we looked
            file.write(text)
    except OSError as error:
        raise HarnessError(f"{error.filename or path}: {error.strerror}; nothing was overwritten") from None

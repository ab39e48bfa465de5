"""The structure that ARCHITECTURE.md describes, as facts: imports go down, none goes round, importing does nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "harness"
GROUPS = ("data", "system", "drive", "judge", "edge")
GROUP_OF = {
    "__main__": "edge", "cli": "edge", "command": "edge", "report": "edge", "gate": "edge", "run": "edge",
    "sweep": "edge",
    "pytest_plugin": "edge",
    "terminal": "edge",
    "verdict": "judge", "statistics": "judge",
    "load": "drive", "fault": "drive",
    "orchestrator": "system", "target": "system", "store": "system", "service": "system", "llm": "system",
    "observation": "data", "scenario": "data", "child": "data", "guardian": "data", "errors": "data",
}  # fmt: skip
EDGE = ("__main__", "cli", "pytest_plugin", "command", "report", "sweep", "gate", "terminal", "run")
"""Rooms of the edge; each may import those that come after it."""
FUNCTION_LINES_MAX = 50
MODULE_LINES_MAX = 300
LONG_FUNCTIONS: dict[str, int] = {}  # may only shrink
LONG_MODULES: dict[str, int] = {}  # may only shrink
BANNED_WORDS = {
    "manager", "handler", "helper", "util", "utils", "common", "base", "info", "factory", "chaos", "engine",
}  # fmt: skip


def modules() -> dict[str, ast.Module]:
    """Every module of the package, parsed, by dotted name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text())
    return found


MODULES = modules()


def imports(name: str) -> Iterator[str]:
    """The package's modules that this one imports, inside functions and type checks included."""
    for node in ast.walk(MODULES[name]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("harness."))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "harness":
            for alias in node.names:
                dotted = f"{node.module}.{alias.name}"
                yield dotted if dotted in MODULES else str(node.module)


def group(name: str) -> int:
    """How high up a module stands; the package itself is below everything."""
    parts = name.split(".")
    return GROUPS.index(GROUP_OF[parts[1]]) if len(parts) > 1 else -1


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_never_go_up(name: str) -> None:
    """A group imports itself and what is below it."""
    upward = [other for other in imports(name) if group(other) > group(name)]
    assert upward == [], f"{name} imports upward"


def test_no_import_cycle() -> None:
    """Not even one that is hidden inside functions."""
    graph = {name: set(imports(name)) - {name} for name in MODULES}
    while leaves := {name for name, needs in graph.items() if not needs & graph.keys()}:
        graph = {name: needs for name, needs in graph.items() if name not in leaves}
    assert graph == {}, "these modules import one another in a ring"


def test_the_rooms_of_the_edge_are_in_order() -> None:
    """A command shows reports and starts what compares; that runs runs; a run knows none of them."""
    for name in MODULES:
        for needed in imports(name):
            rooms = [part.split(".")[1] for part in (name, needed) if part.count(".")]
            if len(rooms) == 2 and set(rooms) <= set(EDGE):
                assert EDGE.index(rooms[0]) <= EDGE.index(rooms[1]), f"{name} imports {needed}"


def test_only_the_load_process_knows_locust() -> None:
    """`import locust` monkey-patches its process."""
    users = {
        name
        for name, tree in MODULES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for module in ([a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""])
        if module.split(".")[0] in {"locust", "gevent", "geventhttpclient"}
    }
    assert users
    assert all(name.startswith("harness.load.") for name in users), users


def test_help_imports_nothing_heavy() -> None:
    """`harness --help` answers before anything but click is loaded."""
    program = (
        "import sys\nfrom harness.command.commands import commands\n"
        "try: commands(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'gevent', 'locust', 'numpy', 'pydantic', 'msgspec', 'psutil', 'rich', 'uvloop', 'asyncio'}\n"
        "heavy &= set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_orchestrator_in_memory_loads_no_driver_and_no_sdk() -> None:
    """Their memory would be measured as the orchestrator's."""
    program = (
        "import sys\nfrom harness.orchestrator.embedded import embedded\n"
        "embedded({'workflow': [{'kind': 'job', 'shape': 'sequential'}]})\n"
        "heavy = {'redis', 'asyncpg', 'docker', 'testcontainers', 'pydantic', 'psutil', 'numpy'}\n"
        "heavy |= {'openai', 'anthropic', 'httpx2', 'genai_prices', 'uvicorn'}\n"
        "heavy &= set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_functions_and_modules_stay_short() -> None:
    """The tail is capped; the lists of exceptions may only shrink."""
    functions, long_modules = {}, {}
    for name, tree in MODULES.items():
        path = PACKAGE.parent / Path(*name.split("."))
        source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        lines = len(source.read_text().splitlines())
        if lines > MODULE_LINES_MAX:
            long_modules[name] = lines
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                if length > FUNCTION_LINES_MAX:
                    functions[f"{name}.{node.name}"] = length
    assert functions == LONG_FUNCTIONS
    assert long_modules == LONG_MODULES


def test_modules_and_classes_avoid_words_that_say_nothing() -> None:
    """A name says what the thing is, in the words of DESIGN's section 6."""
    bad = []
    for name, tree in MODULES.items():
        words = set(name.split(".")[-1].split("_"))
        if words & BANNED_WORDS and name != "harness.orchestrator.engine":
            bad.append(name)
        classes = [node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
        bad += [f"{name}.{word}" for word in classes if word.lower().endswith(tuple(BANNED_WORDS - {"engine"}))]
    assert bad == []


def test_every_module_says_why_it_exists() -> None:
    """A docstring on top, and on every public class and function."""
    missing = []
    for name, tree in MODULES.items():
        if tree.body and not ast.get_docstring(tree):
            missing.append(name)
        for node in tree.body:
            named = isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            if named and not node.name.startswith("_") and not ast.get_docstring(node):
                missing.append(f"{name}.{node.name}")
    assert missing == []


def test_architecture_names_only_what_exists() -> None:
    """Every `harness/...` path and module in ARCHITECTURE.md is there."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    paths = {
        word.strip("`.,:;()")
        for word in text.split()
        if word.strip("`.,:;()").startswith(("harness/", "tests/", "scenarios/"))
    }
    assert paths
    missing = [path for path in sorted(paths) if "*" not in path and not (ROOT / path).exists()]
    assert missing == []

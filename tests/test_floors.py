"""The building: a file imports only from lower floors. A new file has to be given its floor here."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Lowest first. A package's name stands for all its files that are not named themselves. Files on one floor do not import
# each other, save within one package.
FLOORS = [
    {"errors", "version", "sheet"},
    {"records"},
    {"sample", "ros"},
    {"outlets"},
    {"config", "ring", "feed", "journal", "when", "reply"},
    {"clip", "cache", "form", "trees", "words", "model", "aveb.lexicon", "aveb.script", "board", "watchdog"},
    {"capture", "graphs", "passes"},
    {"encoder", "llm"},
    {"session", "intake"},
    {
        "crowd",
        "mind",
        "tune",
        "watches",
        "signals",
        "vad",
        "voice",
        "evidence",
        "outbox",
        "payload",
        "homeassistant",
        "asked",
        "retrying",
        "recording",
        "rerun_view",
        "arguments",
    },
    {"recall"},
    {"aveb"},
    {"lookout", "rehearsal", "glance"},
    {"memory"},
    {"agent"},
    {"training", "switches", "health", "background", "chronicle"},
    {"embedded", "mqtt", "webhook", "metrics"},
    {"robot"},
    {"demo", "doctor", "ask", "bench", "live", "replay", "following", "web"},
    {"__init__"},  # of favor_stream itself: what users import
    {"__main__"},
]
# What meets a person, a broker or a robot asks the agent, and never what the agent is made of.
FACES = {"demo", "live", "replay", "chronicle", "switches", "health", "mqtt", "webhook", "metrics", "following", "web", "robot"}
INSIDES = {"session", "memory", "crowd", "llm", "cache", "passes", "model", "encoder", "graphs"}
HEIGHT = {name: height for height, floor in enumerate(FLOORS) for name in floor}


def files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def imports(path: Path) -> Iterator[str]:
    """Every dotted name that a file imports, wherever in it the import stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module}.{alias.name}" for alias in node.names)


def entry(dotted: str) -> str | None:
    """The longest name in the table that a dotted name of favor_stream lies under."""
    parts = dotted.split(".")[1:]
    names = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((name for name in names if name in HEIGHT), None)


def may_import(mine: str, imported: str) -> bool:
    """Whether a file of the table's entry `mine` may import this dotted name."""
    top = imported.split(".")[0]
    if top != "favor_stream":
        return top not in ("exporters", "")  # nor anything relative, which would hide its floor
    theirs = entry(imported) or "__init__"
    if mine in FACES and theirs in INSIDES:
        return False
    same_package = mine.split(".")[0] == theirs.split(".")[0]
    return HEIGHT[theirs] < HEIGHT[mine] or (HEIGHT[theirs] == HEIGHT[mine] and same_package)


@pytest.mark.parametrize("path", files("favor_stream"), ids=module)
def test_file_imports_only_from_lower_floors(path: Path) -> None:
    mine = entry(module(path))
    assert mine, "this file has no floor yet: name it in FLOORS"
    assert [name for name in imports(path) if not may_import(mine, name)] == []


@pytest.mark.parametrize(("package", "strangers"), [("engines", {"favor_stream", "exporters", ""}), ("exporters", {""})])
def test_packages_beside_the_agent_keep_apart(package: str, strangers: set[str]) -> None:
    assert [(path.name, name) for path in files(package) for name in imports(path) if name.split(".")[0] in strangers] == []


@pytest.mark.parametrize(
    ("mine", "imported", "allowed"),
    [
        ("agent", "favor_stream.session.Session", True),
        ("session", "favor_stream.agent.Agent", False),
        ("mqtt", "favor_stream.session.Session", False),
        ("mqtt", "favor_stream.agent.Agent", True),
        ("live", "favor_stream.session.Session", False),
        ("bench", "favor_stream.session.Session", True),
        ("model", "favor_stream.model.audio.Audio", True),
        ("ring", "favor_stream.config.Config", False),
        ("aveb.script", "favor_stream.aveb.lexicon.SHAPES", True),
        ("aveb.script", "favor_stream.aveb.tasks.Task", False),
        ("demo", "favor_stream.Agent", False),
        ("__main__", "favor_stream.__version__", True),
        ("encoder", "engines.ort", True),
        ("training", "exporters.to_onnx", False),
        ("agent", ".session.Session", False),
    ],
)
def test_rule_tells_up_from_down(mine: str, imported: str, allowed: bool) -> None:
    assert may_import(mine, imported) is allowed


def test_file_without_a_floor_is_seen() -> None:
    assert entry("favor_stream.newcomer") is None

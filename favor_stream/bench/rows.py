"""A figure beside its goal, and a table of them."""

from __future__ import annotations

import sys
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    name: str
    value: float
    unit: str
    goal: str
    reached: bool | None  # None: there is no goal, the figure is for information


def at_most(name: str, value: float, unit: str, goal: float, is_goal: bool = True) -> Row:
    """A figure whose goal holds only where `is_goal`."""
    return Row(name, value, unit, f"<= {goal:g}", value <= goal) if is_goal else Row(name, value, unit, "", None)


def at_least(name: str, value: float, unit: str, goal: float, is_goal: bool = True) -> Row:
    return Row(name, value, unit, f">= {goal:g}", value >= goal) if is_goal else Row(name, value, unit, "", None)


def table(rows: list[Row]) -> str:
    """A Markdown table, aligned for the terminal too."""
    verdict = {True: "reached", False: "missed", None: ""}
    cells = [("what", "value", "goal", ""), ("---", "--:", "--:", "---")]
    cells += [(row.name, f"{figure(row.value)} {row.unit}".strip(), row.goal, verdict[row.reached]) for row in rows]
    what, value, goal, end = (max(map(len, column)) for column in zip(*cells, strict=True))
    return "\n".join(f"| {a:{what}} | {b:>{value}} | {c:>{goal}} | {d:{end}} |" for a, b, c, d in cells)


def figure(value: float) -> str:
    """Three digits, or all of a large whole number."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

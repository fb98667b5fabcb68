"""What is written for people: links lead somewhere, and what is shown in two places is the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from favor_stream.config import SHIPPED

ROOT = Path(__file__).parents[1]
README, NUMBERS, CARD = ROOT / "README.md", ROOT / "NUMBERS.md", SHIPPED / "README.md"


def headings(paper: Path) -> set[str]:
    """As GitHub names them in an address."""
    titles = re.findall(r"^#+ (.+)$", paper.read_text(), re.M)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("paper", [README, NUMBERS, CARD], ids=["readme", "numbers", "card"])
def test_links_lead_somewhere(paper: Path) -> None:
    links = re.findall(r"(?:\]\(|src=\")(?!http)([^)\s\"]+)", paper.read_text())
    assert links
    for path, _, heading in (link.partition("#") for link in links):
        target = paper.parent / path if path else paper
        assert target.exists(), path
        assert not heading or heading in headings(target), f"{path}#{heading}"


def table(paper: Path) -> str:
    _, found, rest = paper.read_text().partition("| task | AVEB |")
    assert found
    return rest.partition("\n\n")[0]


def test_card_s_table_is_the_readme_s() -> None:
    assert table(CARD) == table(README)

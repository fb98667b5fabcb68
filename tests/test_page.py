"""The page in a real browser, on the shipped film and weights: what a person does on it, and what it must never do."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import pytest
from mosquitto import free_port
from real import require

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.device, pytest.mark.slow]
pytest.importorskip("fastapi")
CHROMIUM = shutil.which("chromium")
ALONE = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--no-first-run"]


@dataclass
class Served:
    """A running server's address, and everything the page has asked for and complained of."""

    address: str
    page: Page
    asked_for: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """`favor-stream serve --demo` and a page of it in Chromium, from its start."""
    require(CHROMIUM, "chromium is not installed (apt-get install chromium)")
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    folder = tmp_path_factory.mktemp("page")
    (folder / "agent.toml").write_text(f'state = "{folder}"\nengine = "torch"\n')
    command = [sys.executable, "-m", "favor_stream", "--config", str(folder / "agent.toml"), "serve", "--demo"]
    command += ["--port", str(free_port()), "--evidence", str(folder / "proof")]
    with sync_api.sync_playwright() as browsers, subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        browser = browsers.chromium.launch(executable_path=CHROMIUM, args=ALONE)  # meanwhile: the film will not wait
        assert server.stderr is not None
        address = next(line for line in server.stderr if line.startswith("open ")).split()[1]
        made = Served(address, browser.new_page())
        made.page.set_default_timeout(60_000)
        made.page.on("console", lambda message: made.complaints.append(message.text) if message.type == "error" else None)
        made.page.on("pageerror", lambda error: made.complaints.append(str(error)))
        made.page.on("request", lambda request: made.asked_for.append(request.url))
        made.page.goto(address)
        yield made
        browser.close()
        server.terminate()
        server.wait(20)


def test_watch_that_is_written_on_the_page_is_told_there_with_its_picture(served: Served) -> None:
    page = served.page
    assert "token" not in page.url
    page.get_by_label("Tell me when").fill("a white ring appears")
    page.get_by_role("button", name="Watch").click()
    page.get_by_role("checkbox", name="a white ring appears").wait_for()
    page.locator("#events .watch", has_text="a white ring appears: began").wait_for()
    with page.context.expect_page() as opened:
        page.locator("#events a", has_text="picture").first.click()
    opened.value.wait_for_load_state()
    assert opened.value.evaluate("document.images[0].naturalWidth") > 0
    opened.value.close()
    assert page.locator("#picture").evaluate("picture => picture.naturalWidth") > 0
    assert page.locator("#perceived").inner_text() != "nothing is perceived yet"


def test_question_that_is_typed_is_answered_rightly_with_its_times(served: Served) -> None:
    page = served.page
    page.locator("#events", has_text="every source has ended").wait_for()
    page.get_by_label("Question", exact=True).fill("what was the first thing?")
    page.keyboard.press("Enter")
    page.locator("#talk .times", has_text="first word after").wait_for()
    assert page.locator("#talk .answer").inner_text().strip() == "blue ring"
    assert page.get_by_role("button", name="Stop").is_hidden()


def test_what_cannot_be_done_is_said_on_the_page(served: Served) -> None:
    page = served.page
    page.get_by_label("Tell me when").fill("a white ring appears")
    page.get_by_role("button", name="Watch").click()
    page.locator("#trouble", has_text="give each a name of its own").wait_for()
    page.get_by_label("Question", exact=True).fill("why? " * 500)
    page.get_by_role("button", name="Ask").click()
    page.locator("#talk .wrong").wait_for()
    served.complaints.clear()  # Chromium notes each refused call itself
    page.get_by_role("button", name="Remove a white ring appears").click()
    page.get_by_role("checkbox", name="a white ring appears").wait_for(state="detached")


def test_privacy_hides_the_picture_and_shows_that_it_does(served: Served) -> None:
    page = served.page
    page.get_by_role("button", name="Privacy").click()
    page.get_by_text("nothing is captured").wait_for()
    assert page.locator("#picture").is_hidden()
    assert page.get_by_role("button", name="Privacy", pressed=True).is_visible()
    page.get_by_role("button", name="Privacy").click()
    page.locator("#dark").wait_for(state="hidden")


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_can_be_read_by_everybody(served: Served, width: int, scheme: Literal["light", "dark"]) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    page = served.page
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert axe.Axe().run(page).response["violations"] == []


def test_nothing_went_wrong_and_nobody_else_was_asked(served: Served) -> None:
    home = served.address.split("/?")[0]
    assert [address for address in served.asked_for if not address.startswith((home, "data:"))] == []
    assert served.complaints == []

"""The page in a real browser, on the shipped film and weights: what a person does on it, and what it must never do."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest
from mosquitto import free_port
from real import require

from favor_stream.aveb import evaluation, world
from favor_stream.aveb.tasks import DENSITY

if TYPE_CHECKING:
    from brought import Devices
    from playwright.sync_api import Browser, BrowserContext, Page

pytestmark = [pytest.mark.device, pytest.mark.slow, pytest.mark.alone]
pytest.importorskip("fastapi")
CHROMIUM = shutil.which("chromium")
ALONE = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--no-first-run"]
ALLOWED = ["--use-fake-ui-for-media-stream", "--autoplay-policy=no-user-gesture-required"]
FILM_S = 16.0


@dataclass
class Served:
    """A running server's address, and everything the page has asked for and complained of."""

    address: str
    page: Page
    asked_for: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def follow(self) -> Served:
        self.page.set_default_timeout(180_000)  # on a busy machine words are passed over at times, and the film says them again
        self.page.on("console", lambda message: self.complaints.append(message.text) if message.type == "error" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.asked_for.append(request.url))
        return self


@contextmanager
def server(folder: Path, *flags: str) -> Iterator[str]:
    """`favor-stream serve`; the address with the token, which it prints."""
    (folder / "agent.toml").write_text(f'state = "{folder}"\nengine = "torch"\n')
    command = [sys.executable, "-m", "favor_stream", "--config", str(folder / "agent.toml"), "serve"]
    with subprocess.Popen([*command, "--port", str(free_port()), *flags], stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        try:
            yield next(line for line in running.stderr if line.startswith("open ")).split()[1]
        finally:
            running.terminate()
            assert running.wait(20) == 0


@pytest.fixture(scope="module")
def playwright() -> Iterator[Any]:
    require(CHROMIUM, "chromium is not installed (apt-get install chromium)")
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    with sync_api.sync_playwright() as browsers:
        yield browsers.chromium


@contextmanager
def chromium(playwright: Any, *flags: str) -> Iterator[Browser]:
    browser = playwright.launch(executable_path=CHROMIUM, args=[*ALONE, *flags])
    yield browser
    browser.close()


# The shipped film, without any camera.


@pytest.fixture(scope="module")
def served(playwright: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """`favor-stream serve --demo` and a page of it in Chromium, from its start."""
    folder = tmp_path_factory.mktemp("page")
    proof = str(folder / "proof")
    with chromium(playwright) as browser, server(folder, "--demo", "--evidence", proof) as address:  # the film will not wait
        made = Served(address, browser.new_page()).follow()
        made.page.goto(address)
        yield made


def ask(page: Page, question: str) -> str:
    """The answer, once it is complete."""
    page.get_by_label("Question", exact=True).fill(question)
    page.keyboard.press("Enter")
    turn = page.locator("#talk .turn", has=page.get_by_text(question[:20].strip())).last
    turn.locator(".times, .wrong").wait_for()
    return turn.locator(".answer").inner_text().strip()


def until(page: Page, is_so: Callable[[], bool], most_s: float = 180.0) -> None:
    """Asked again and again from here, for the page's own security policy forbids most waiting inside it."""
    until_s = time.monotonic() + most_s
    while not is_so():
        assert time.monotonic() < until_s
        page.wait_for_timeout(100)


def watch(page: Page, sentence: str) -> None:
    page.get_by_label("Tell me when").fill(sentence)
    page.get_by_role("button", name="Watch", exact=True).click()
    page.get_by_role("checkbox", name=sentence).wait_for()


def test_watch_that_is_written_on_the_page_is_told_there_with_its_picture(served: Served) -> None:
    page = served.page
    assert "token" not in page.url
    watch(page, "an orange star appears")
    page.locator("#events .watch", has_text="an orange star appears: began").wait_for()
    with page.context.expect_page() as opened:
        page.locator("#events a", has_text="picture").first.click()
    opened.value.wait_for_load_state()
    assert opened.value.evaluate("document.images[0].naturalWidth") > 0
    opened.value.close()
    assert page.locator("#picture").evaluate("picture => picture.naturalWidth") > 0
    assert page.locator("#sees").inner_text() != "nothing yet"
    assert len(page.locator("#watches polyline").get_attribute("points").split()) > 4  # type: ignore[union-attr]


def test_question_that_is_typed_is_answered_rightly_with_its_times(served: Served) -> None:
    page = served.page
    page.locator("#events", has_text="every source has ended").wait_for()
    assert ask(page, "what was the first thing?") == "blue ring"
    assert "first word after" in page.locator("#talk .times").inner_text()
    assert page.get_by_role("button", name="Stop", exact=True).is_hidden()
    page.locator("#figures", has_text="encoded in").wait_for()


def test_time_line_shows_a_moment_again(served: Served) -> None:
    page = served.page
    page.locator("#lane-sees button", has_text="orange star").first.click()
    page.locator("#moment-film").wait_for()
    while not page.locator("#moment-film").evaluate("film => film.videoWidth"):  # the page forbids what waits for it by itself
        page.wait_for_timeout(50)
    page.get_by_role("button", name="Close").click()
    assert page.locator("#moment").is_hidden()


def test_watch_is_tried_on_what_was_seen(served: Served) -> None:
    page = served.page
    page.get_by_label("Tell me when").fill("an orange star appears")
    page.get_by_role("button", name="Try on the last minute").click()
    page.locator("#tried", has_text="would have been told once").wait_for()


def test_what_cannot_be_done_is_said_on_the_page(served: Served) -> None:
    page = served.page
    page.get_by_label("Tell me when").fill("an orange star appears")
    page.get_by_role("button", name="Watch", exact=True).click()
    page.locator("#trouble", has_text="give each a name of its own").wait_for()
    ask(page, "why? " * 500)
    assert page.locator("#talk .wrong").count() == 1
    served.complaints.clear()  # Chromium notes each refused call itself
    page.get_by_role("button", name="Remove an orange star appears").click()
    page.get_by_role("checkbox", name="an orange star appears").wait_for(state="detached")


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


def test_interface_is_described_on_a_page(served: Served) -> None:
    page, home = served.page, served.address.split("/?")[0]
    page.goto(f"{home}/docs")
    page.locator("h2", has_text="POST /v1/ask").wait_for()
    assert "required" in page.locator("section", has_text="POST /v1/ask").first.inner_text()
    page.goto(home)


def test_nothing_went_wrong_and_nobody_else_was_asked(served: Served) -> None:
    home = served.address.split("/?")[0]
    assert [address for address in served.asked_for if not address.startswith((home, "data:", "blob:"))] == []
    assert served.complaints == []


# A browser's own camera and microphone, which play a generated film.


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Devices:
    """A held-out film in which somebody asks "what shape is the orange one?"; it is a triangle, and there is a blue star."""
    pytest.importorskip("espeakng_loader", reason="needs the voices of the train extra")
    from brought import devices

    return devices(tmp_path_factory.mktemp("camera"), world.draw(evaluation.FIRST_SEED + 69, FILM_S, "held_out", DENSITY))


@pytest.fixture(scope="module")
def home(playwright: Any, camera: Devices, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Browser]]:
    """A server without a source of its own, and a browser that may use its camera."""
    with chromium(playwright, *camera.flags, *ALLOWED) as browser, server(tmp_path_factory.mktemp("home")) as address:
        yield address, browser


@contextmanager
def opened(address: str, browser: Browser) -> Iterator[Served]:
    context: BrowserContext = browser.new_context()
    made = Served(address, context.new_page()).follow()
    made.page.add_init_script(SPOKEN)
    made.page.goto(address)
    yield made
    context.close()


# What is spoken by the page is noted, and takes five seconds: no voice is installed here.
SPOKEN = """
window.spoken = [];
speechSynthesis.speak = (utterance) => {
  window.spoken.push(utterance.text);
  window.isTalking = true;
  setTimeout(() => { window.isTalking = false; }, 5000);
};
speechSynthesis.cancel = () => { window.isTalking = false; };
Object.defineProperty(speechSynthesis, 'speaking', { get: () => window.isTalking === true });
"""


def bring(page: Page) -> None:
    page.get_by_role("button", name="Use my camera and microphone").click()
    page.locator("#camera-state", has_text="your microphone and camera").wait_for()
    page.locator("#sees", has_text="nothing yet").wait_for(state="detached")


def test_camera_and_microphone_are_perceived_asked_about_and_watched(home: tuple[str, Browser]) -> None:
    with opened(*home) as made:
        page = made.page
        page.locator("#state", has_text="no stream yet").wait_for()
        bring(page)
        watch(page, "a blue star appears")
        page.get_by_label("Speak answers").check()
        page.locator("#events .watch", has_text="a blue star appears: began").wait_for()
        assert ask(page, "did you see a blue star?") == "yes"
        until(page, lambda: "yes" in page.evaluate("window.spoken"))
        page.evaluate("window.isTalking = true")
        page.get_by_label("Question", exact=True).press_sequentially("w")  # who types is let speak
        assert page.evaluate("window.isTalking") is False
        axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
        assert axe.Axe().run(page).response["violations"] == []
        page.locator("#figures", has_text="round trip").wait_for()
        assert made.complaints == []


def test_question_that_is_spoken_is_answered_and_spoken(home: tuple[str, Browser]) -> None:
    with opened(*home) as made:
        made.page.get_by_label("Speak answers").check()
        bring(made.page)
        made.page.locator("#talk .answer", has_text="what shape is the orange one? triangle").wait_for()
        until(made.page, lambda: "what shape is the orange one? triangle" in made.page.evaluate("window.spoken"))


def test_time_that_is_past_is_asked_about(home: tuple[str, Browser]) -> None:
    with opened(*home) as made:
        page = made.page
        bring(page)
        page.locator("#written", has_text="can be asked about since").wait_for()
        page.locator("#lane-said button").nth(2).wait_for()
        ruler = page.locator("#ruler")
        ruler.scroll_into_view_if_needed()
        box = ruler.bounding_box()
        assert box
        page.mouse.move(box["x"] + 1, box["y"] + 5)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] - 2, box["y"] + 5, steps=3)
        page.mouse.up()
        assert page.get_by_label("About the time from").input_value()
        assert ask(page, "what was the first thing?")
        assert "rests on" in page.locator("#talk .times").last.inner_text()
        page.get_by_role("button", name="Ask about now again").click()
        assert page.get_by_label("About the time from").input_value() == ""
        assert "I no longer remember that" in ask(page, "what was said at 0:01?")
        assert made.complaints == []


def test_second_tab_brings_a_stream_of_its_own_and_one_that_is_closed_gives_it_back(home: tuple[str, Browser]) -> None:
    with opened(*home) as first:
        bring(first.page)
        with opened(*home) as second:
            bring(second.page)
            assert second.page.locator("#stream option").count() >= 2
            second.page.get_by_role("button", name="Stop using them").click()
            second.page.locator("#stream option", has_text="your camera").wait_for(state="detached")
        assert first.page.locator("#camera-state").inner_text() == "your microphone and camera"


def test_privacy_closes_the_browser_s_camera_and_opens_it_again(home: tuple[str, Browser]) -> None:
    with opened(*home) as made:
        page = made.page
        bring(page)
        page.get_by_role("button", name="Privacy").click()
        page.get_by_text("nothing is captured").wait_for()
        assert page.locator("#own").evaluate("video => video.srcObject") is None
        page.get_by_role("button", name="Privacy").click()
        page.locator("#camera-state", has_text="your microphone and camera").wait_for()
        page.locator("#dark").wait_for(state="hidden")


def test_network_that_was_cut_comes_back_to_the_same_memory(home: tuple[str, Browser]) -> None:
    from brought import wire

    address, browser = home
    port = int(address.split("/?")[0].rpartition(":")[2])
    with wire(port) as cable, opened(address.replace(str(port), str(cable.port), 1), browser) as made:
        page = made.page
        bring(page)
        stream = page.locator("#stream").input_value()
        cable.cut()
        page.locator("#camera-state", has_text="the connection was lost").wait_for()
        page.locator("#state.lost").wait_for()
        cable.mend()
        page.locator("#camera-state", has_text="your microphone and camera").wait_for()
        page.locator("#state.lost").wait_for(state="detached")
        assert page.locator("#stream").input_value() == stream
        assert ask(page, "what do you see now?")


def test_permission_that_is_refused_and_devices_that_lack_or_are_mute_are_told(
    playwright: Any, camera: Devices, home: tuple[str, Browser], tmp_path: Path
) -> None:
    from brought import silence

    mute = [*camera.flags[:2], f"--use-file-for-fake-audio-capture={silence(tmp_path)}", *ALLOWED]
    cases = ((camera.flags, "was not allowed"), (ALLOWED[:1], "no camera and no mic"), (mute, "nothing comes from the mic"))
    for flags, complaint in cases:
        with chromium(playwright, *flags) as browser, opened(home[0], browser) as made:
            made.page.get_by_role("button", name="Use my camera and microphone").click()
            made.page.locator("#camera-state.wrong", has_text=complaint).wait_for()
            assert made.complaints == []

"""python -m favor_stream.bench.browser: how soon a person sees it on the page, measured in Chromium on this machine.

A canvas takes the camera's place, so that it is known to the millisecond when a thing comes into view; from there on all is as it
is with a camera: the page, the socket, the agent, the model, the events. It needs playwright and Chromium.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from favor_stream.agent import Agent
from favor_stream.aveb import world
from favor_stream.aveb.picture import picture
from favor_stream.aveb.script import Thing
from favor_stream.bench.rows import Row, at_most, note, table
from favor_stream.clip import snapshot_jpeg
from favor_stream.config import Config
from favor_stream.errors import DeviceError, FavorError
from favor_stream.journal import Journal, Window
from favor_stream.mind import Mind

FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--no-first-run")
FAKE = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", "--autoplay-policy=no-user-gesture-required")
PRECISE = ("--enable-precise-memory-info", "--js-flags=--expose-gc")
SHOWN_S, AWAY_S = 3.0, 3.0  # for which the thing is there, and then is not
WATCHED, ASKED = "a red circle appears", "what do you see now?"
CONTEXT_S = 600.0

# In the page, before anything else of it: a camera that shows one of two pictures, and a note of what appears when.
CAMERA = """
(pictures) => {
  const canvas = Object.assign(document.createElement('canvas'), { width: 640, height: 480 });
  const images = pictures.map((source) => Object.assign(new Image(), { src: source }));
  const bench = (window.bench = { shows: 0, shownMs: 0, told: [], first: [] });
  setInterval(() => canvas.getContext('2d').drawImage(images[bench.shows], 0, 0, 640, 480), 40);
  bench.flip = (shows) => { bench.shows = shows; bench.shownMs = performance.now(); };
  const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async ({ audio, video }) => {
    const media = await real({ audio: audio ?? false, video: false });
    if (video) canvas.captureStream(25).getVideoTracks().forEach((track) => media.addTrack(track));
    return media;
  };
}
"""
NOTING = """
() => {
  const began = new MutationObserver((changes) => changes.forEach((change) => change.addedNodes.forEach((line) => {
    if (line.textContent?.includes(': began')) bench.told.push(performance.now() - bench.shownMs);
  })));
  began.observe(document.getElementById('events'), { childList: true });
  bench.ask = (question) => new Promise((resolve) => {
    const asked = performance.now();
    const talk = new MutationObserver(() => {
      const answer = [...document.querySelectorAll('#talk .answer')].at(-1);
      if (answer?.textContent) { talk.disconnect(); resolve(performance.now() - asked); }
    });
    document.getElementById('question').value = question;
    document.getElementById('asking').requestSubmit();
    talk.observe(document.getElementById('talk'), { childList: true, subtree: true, characterData: true });
  });
}
"""
WEIGHT = """
() => performance.getEntriesByType('resource').filter((each) => /[.](css|js)$/.test(each.name))
  .concat(performance.getEntriesByType('navigation')).reduce((sum, each) => sum + each.decodedBodySize, 0)
"""
HEAP = "() => { gc(); return performance.memory.usedJSHeapSize; }"


def run(config: Config, minutes: float) -> list[Row]:
    """Raises DeviceError where there is no browser to drive."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise DeviceError("there is no Chromium here; install it (apt-get install chromium)")
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError as error:
        raise DeviceError("playwright is not installed; pip install --editable '.[dev]'") from error
    rows = asyncio.run(remembering(config))
    with sync_playwright() as drivers, served(config) as (address, process):
        browser = drivers.chromium.launch(executable_path=chromium, args=[*FLAGS, *FAKE, *PRECISE])
        page = browser.new_page()
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.add_init_script(f"({CAMERA})({pictures()})")
        page.goto(address)
        rows += used(page, process.pid, minutes)
        rows += crowded(browser, page, address)
        rows.append(at_most("errors on the console", len(complaints), "", 0))
        browser.close()
    return rows


def pictures() -> list[str]:
    """The same place without and with a red circle, as addresses of images."""
    script = world.draw(1, 16.0, "held_out")
    circle = Thing("red", "circle", 0.0, 16.0, 0.5, 0.5, 0.25, "still", 0.0, 0, 0.0)
    empty = replace(script, things=(), cards=())
    return [
        "data:image/jpeg;base64," + base64.b64encode(snapshot_jpeg(picture(each, 1.0))).decode()
        for each in (empty, replace(empty, things=(circle,)))
    ]


@contextmanager
def served(config: Config) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """`favor-stream serve` without a source; its address, with the token."""
    with socket.create_server(("127.0.0.1", 0)) as free, tempfile.TemporaryDirectory() as folder:
        port = free.getsockname()[1]
        free.close()
        settings = Path(folder) / "agent.toml"
        weights = f'weights = "{config.weights.absolute()}"\n' if config.weights else ""
        settings.write_text(f'{weights}state = "{folder}"\nengine = "{config.engine}"\n', encoding="utf-8")
        command = [sys.executable, "-m", "favor_stream", "--config", str(settings), "serve", "--port", str(port)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            try:
                yield next(line for line in process.stderr if line.startswith("open ")).split()[1], process
            finally:
                process.terminate()


def used(page: Any, server: int, minutes: float) -> list[Row]:
    """The page in use for so long: a thing comes and goes, and somebody asks meanwhile."""
    page.get_by_role("button", name="Use my camera and microphone").click()
    page.locator("#sees", has_text="nothing yet").wait_for(state="detached", timeout=60_000)
    page.get_by_label("Tell me when").fill(WATCHED)
    page.get_by_role("button", name="Watch", exact=True).click()
    page.get_by_label("cooldown, s").fill("0")
    page.get_by_label("cooldown, s").blur()
    page.evaluate(NOTING)
    first_ms, memory, until_s = list[float](), list[tuple[float, float]](), time.monotonic() + 60 * minutes
    shows = 0
    while time.monotonic() < until_s:
        note(f"bench: {(until_s - time.monotonic()) / 60:.1f} minutes of the page left")
        for shows in (1, 0):
            page.evaluate("(shows) => bench.flip(shows)", shows)
            page.wait_for_timeout(1000 * (SHOWN_S if shows else AWAY_S) - 500)
            first_ms.append(page.evaluate("(question) => bench.ask(question)", ASKED))
            page.wait_for_timeout(500)
        memory.append((page.evaluate(HEAP) / 1e6, resident_mb(server)))
    told_s = [each / 1000 for each in page.evaluate("() => bench.told")]
    if not told_s:
        raise DeviceError(f"in {minutes:g} minutes the watch was never told; is this machine busy with something else?")
    return [
        Row("times that the thing came into view", len(first_ms) / 2, "", "", None),
        Row("of them told on the page", len(told_s), "", "", None),
        Row("from coming into view to the page, median", statistics.median(told_s), "s", "", None),
        at_most("from coming into view to the page, p95", float(np.quantile(told_s, 0.95)), "s", 1.5),
        at_most("from a question to the first word, p50", statistics.median(first_ms), "ms", 300),
        at_most("from a question to the first word, p95", float(np.quantile(first_ms, 0.95)), "ms", 800),
        at_most("what the page loads", page.evaluate(WEIGHT) / 1000, "kB", 300),
        *flat("the page's heap", [each[0] for each in memory], minutes),
        *flat("the server's memory", [each[1] for each in memory], minutes),
    ]


def flat(what: str, held_mb: list[float], minutes: float) -> list[Row]:
    """The last quarter against the second: the first fills what is bounded."""
    quarter = max(1, len(held_mb) // 4)
    before, after = statistics.median(held_mb[quarter : 2 * quarter] or held_mb), statistics.median(held_mb[-quarter:])
    grown = Row(f"{what}, growth in the second half of {minutes:g} minutes", after - before, "MB", "", None)
    return [Row(f"{what} at the end", after, "MB", "", None), grown]


def crowded(browser: Any, page: Any, address: str) -> list[Row]:
    """Four pages on one stream, all asking at once."""
    stream = page.locator("#stream").input_value()
    viewers = [browser.new_context().new_page() for _ in range(4)]
    for viewer in viewers:
        viewer.goto(address)
        viewer.locator("#stream").select_option(stream)
        viewer.evaluate("() => { window.bench = { told: [] }; }")
        viewer.evaluate(NOTING)
    taken_ms = list[float]()
    for _ in range(5):
        for viewer in viewers:
            viewer.evaluate("(question) => { window.asking = bench.ask(question); }", ASKED)
        taken_ms += [viewer.evaluate("() => window.asking") for viewer in viewers]
    for viewer in viewers:
        viewer.context.close()
    return [Row("first word for each of 4 viewers who ask at once, p95", float(np.quantile(taken_ms, 0.95)), "ms", "", None)]


def resident_mb(process: int) -> float:
    pages = int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096 / 1e6


async def remembering(config: Config) -> list[Row]:
    """How long a restart reads ten minutes of what was written down, once the model is loaded."""
    note("bench: a restart with ten minutes written down")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.sqlite"
        async with Mind(config) as mind:
            await mind.compute(lambda: write_down(mind, path, config))
            started_s = time.perf_counter()
            async with Agent(
                "lavfi:testsrc=rate=4", config=replace(config, context_s=CONTEXT_S), mind=mind, journal=path
            ) as agent:
                entered_s = time.perf_counter() - started_s - agent.heard_until_s
                remembered_s = agent.heard_until_s - agent.remembered_s[0]
    return [
        Row("remembered after a restart", remembered_s, "s", "", None),
        at_most("until a restarted agent remembers, with the model loaded", entered_s, "s", 2.0),
    ]


def write_down(mind: Mind, path: Path, config: Config) -> None:
    """As many windows as ten minutes have, of this moment's past."""
    session = mind.session()
    journal = Journal(path, mind.weights, int(config.journal_mb * 1e6), config.journal_hours * 3600)
    rng, count = np.random.default_rng(0), session.most_windows
    window_s = CONTEXT_S / (count - 2)
    tokens, width = session.window_shape
    for number in range(count, 0, -1):
        ended_at = time.time() - (number - 1) * window_s
        journal.put(Window(rng.standard_normal((tokens, width), np.float32), ended_at - window_s, ended_at))
    journal.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m favor_stream.bench.browser", description=__doc__)
    parser.add_argument("--minutes", type=float, default=3.0, help="of the page in use (%(default)g)")
    parser.add_argument("--engine", default="auto", help="what perceives (%(default)s: what was tuned)")
    arguments = parser.parse_args()
    try:
        print(table(run(Config(engine=arguments.engine), arguments.minutes)))
    except FavorError as error:
        print(f"favor-stream: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

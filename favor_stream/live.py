"""Watching a stream in a terminal: what is perceived as it comes, a line to ask in, and how far the agent is behind.

It knows the agent and a terminal. Questions are read from standard input, so they may be typed or piped.
"""

from __future__ import annotations

import asyncio
import codecs
import io
import json
import os
import re
import sys
import threading
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.text import Text

from favor_stream import payload
from favor_stream.agent import Agent
from favor_stream.capture.rtsp import public_address
from favor_stream.chronicle import Chronicle, Keep
from favor_stream.config import Config, state_folder
from favor_stream.errors import DeviceError, FavorError
from favor_stream.outlets import Broker
from favor_stream.recall import journal_file
from favor_stream.records import Event, WatchEvent

STDIN = 0
LINES = 500  # that are kept for the view
SHOWN = 200  # characters of a question
REDRAW_S = 0.1
SVG_COLUMNS, SVG_LINES = 92, 22
STYLES = {"perceived": "", "question": "bold", "answer": "green", "watch": "bold cyan"}  # any other line is news of a device
BACKSPACE, END_OF_INPUT, ESCAPE = "\x7f\b", "\x04", b"\x1b"
Outlet = Callable[[], Coroutine[None, None, None]]


def run(
    sources: Sequence[str],
    config: Config,
    svg: Path | None = None,
    embedded: bool = False,
    json_out: bool = False,
    keeps: Sequence[Keep] = (),
) -> int:
    """Watches until the sources and the questions have ended, or until Ctrl-C; then writes the view as `svg`.

    What happens is told to the configured broker too; with `embedded` to one that is started here. With `json_out` every event
    and every answer is one JSON object on a line, and there is no view. `keeps`: who is handed the whole stream too.
    """
    if svg is not None and not svg.parent.is_dir():  # told now rather than after the watching
        raise DeviceError(f"{svg}: {svg.parent} is no folder; choose another file")
    view = View(" + ".join(map(public_name, sources)), plain=json_out or not sys.stdout.isatty(), json_out=json_out)
    try:
        with _single_keys(), nullcontext() if view.plain else Live(get_renderable=view.drawn, auto_refresh=False) as screen:
            journal = journal_file(config.state or state_folder(), sources) if config.journal else None
            asyncio.run(_watch(Agent(*sources, config=config, journal=journal), config, embedded, keeps, view, screen))
    finally:
        if svg is not None and view.lines:
            view.save_svg(svg)
    return 0


@dataclass(slots=True)
class Line:
    kind: str
    text: str


@dataclass(slots=True)
class View:
    """What is on the screen; `plain`: lines are printed one after the other instead."""

    title: str
    plain: bool
    json_out: bool = False  # then objects are printed, and no lines
    figures: str = ""
    typed: str = ""
    lines: deque[Line] = field(default_factory=lambda: deque(maxlen=LINES))

    def add(self, kind: str, text: str) -> Line:
        """Puts a line at the bottom; it may grow later."""
        line = Line(kind, text)
        self.lines.append(line)
        return line

    def tell(self, line: Line, told: payload.Json | None = None) -> None:
        """Prints a line that is complete, where lines are printed, or what it tells as JSON."""
        if self.json_out and told:
            print(json.dumps(told), flush=True)
        elif self.plain and not self.json_out:
            print(line.text, flush=True)

    def drawn(self, height: int | None = None) -> Group:
        """The newest lines under a header with the figures, and the line that is being typed."""
        room = (height or Console().height) - 5
        body = Text(no_wrap=True, overflow="ellipsis")
        for line in list(self.lines)[-room:]:
            body.append(f"{line.text}\n", STYLES.get(line.kind, "yellow"))
        header = Panel(Text(self.figures, no_wrap=True, overflow="ellipsis"), title=self.title, title_align="left")
        return Group(header, body, Text(f"> {self.typed}_", style="bold"))

    def save_svg(self, path: Path) -> None:
        """Writes the view as it stands. Raises DeviceError when the file cannot be written."""
        console = Console(record=True, width=SVG_COLUMNS, file=io.StringIO(), force_terminal=True)
        console.print(self.drawn(SVG_LINES))
        image = console.export_svg(title="favor-stream live")
        image = re.sub(r"@font-face \{.*?\}", "", image, flags=re.DOTALL)  # a picture in a page should load nothing
        try:
            path.write_text(image, encoding="utf-8")
        except OSError as error:
            raise DeviceError(f"{path}: cannot be written ({error.strerror}); choose another file") from error


async def _watch(agent: Agent, config: Config, embedded: bool, keeps: Sequence[Keep], view: View, screen: Live | None) -> None:
    questions: asyncio.Queue[str | None] = asyncio.Queue()
    events, chronicles = agent.events(), [Chronicle(agent, keep) for keep in keeps]  # before entering, so that none is missed
    async with _outlets(agent, config, embedded) as outlets, agent:
        outlets += [chronicle.run for chronicle in chronicles]
        _listen(asyncio.get_running_loop(), view, questions)
        drawing = asyncio.create_task(_draw(agent, view, screen), name="draw")
        telling = asyncio.create_task(_tell(events, view), name="tell")
        answering = asyncio.create_task(_answer(agent, view, questions), name="answer")
        serving = [asyncio.create_task(outlet(), name="outlet") for outlet in outlets]
        try:
            ended, _ = await asyncio.wait({telling, *serving}, return_when=asyncio.FIRST_EXCEPTION)
            for task in ended:  # an outlet that fails must not be missed in silence
                task.result()
            await agent.ended()  # raises what the sources ended with, though somebody may still be typing
            await answering
        finally:
            for task in (drawing, telling, answering, *serving):
                task.cancel()
            await asyncio.wait({drawing, telling, answering, *serving})
        view.figures = figures(agent)
    if view.plain and not view.json_out:
        print(view.figures)


@asynccontextmanager
async def _outlets(agent: Agent, config: Config, embedded: bool) -> AsyncIterator[list[Outlet]]:
    """Who is told of the agent's events besides this view, from now to their end."""
    folder, outlets = config.state or state_folder(), list[Outlet]()
    async with AsyncExitStack() as stack:
        broker = config.mqtt or (Broker() if embedded else None)
        if embedded and broker:
            from favor_stream.embedded import embedded_broker

            broker = replace(broker, url=await stack.enter_async_context(embedded_broker()), protocol="3.1.1")
        if broker:
            from favor_stream.mqtt import Mqtt  # of an extra, as is the next

            outlets.append(Mqtt(agent, broker, folder).run)
        if config.webhook:
            from favor_stream.webhook import Webhook

            outlets.append(Webhook(agent, config.webhook, folder).run)
        if config.metrics:
            from favor_stream.metrics import Metrics

            outlets.append(Metrics(agent, config.metrics).run)
        yield outlets


async def _draw(agent: Agent, view: View, screen: Live | None) -> None:
    while True:
        view.figures = figures(agent)
        if screen is not None:
            screen.refresh()
        await asyncio.sleep(REDRAW_S)


async def _tell(events: AsyncIterable[Event], view: View) -> None:
    async for event in events:
        line = view.add(event.kind, f"{event.time_s:7.1f} s  {told(event)}")
        view.tell(line, payload.event(event, datetime.now(UTC)) if isinstance(event, WatchEvent) else payload.news(event))


async def _answer(agent: Agent, view: View, questions: asyncio.Queue[str | None]) -> None:
    """Answers question after question until there are no more."""
    while (question := await questions.get()) is not None:
        view.tell(view.add("question", f"        > {shortened(question)}"))
        line = view.add("answer", " " * 10)
        try:
            async for piece in agent.ask(question):
                line.text += piece
        except FavorError as error:  # one bad question does not end the watching
            line.text += str(error)
        view.tell(line, {"question": question, "text": line.text.strip()})


def told(event: Event) -> str:
    """One line; of a watch what began, what it looked like, how long it was."""
    if not isinstance(event, WatchEvent):
        return event.text
    lasted = f" ended after {event.time_s - event.started_s:.1f} s" if event.phase == "end" else ""
    return f"[{event.phase}] {event.watch.question}{lasted} ({event.confidence:.0%})"


def public_name(source: str) -> str:
    """A source as it may be shown: an address without its secrets."""
    return public_address(source) if "://" in source else source


def shortened(question: str) -> str:
    return question if len(question) <= SHOWN else f"{question[:SHOWN]}..."


def figures(agent: Agent) -> str:
    """One line that says how the agent keeps up."""
    counts, (first_s, last_s) = agent.counts, agent.remembered_s
    drift = "" if agent.drift_ppm is None else f"   sound's clock {agent.drift_ppm:+.0f} ppm"
    return (
        f"{agent.heard_until_s:.1f} s   lag {agent.lag_s:.1f} s   "
        f"{counts.pictures_dropped} of {counts.pictures_in} pictures dropped   "
        f"{agent.real_time_factor:.2f} of real time   "
        f"{last_s - first_s:.1f} s remembered in {agent.tokens} of {agent.budget_tokens} tokens{drift}"
    )


# Standard input


def _listen(loop: asyncio.AbstractEventLoop, view: View, questions: asyncio.Queue[str | None]) -> None:
    """Reads in a thread, which cannot be stopped while it waits for a key and therefore ends with the program."""

    def asked(question: str | None) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody asks any more
            loop.call_soon_threadsafe(questions.put_nowait, question)

    def typed(text: str) -> None:
        view.typed = text

    threading.Thread(target=read_questions, args=(STDIN, asked, typed), name="questions", daemon=True).start()


def read_questions(descriptor: int, asked: Callable[[str | None], None], typed: Callable[[str], None]) -> None:
    """Calls `typed` with the line as it stands after each key, `asked` with each whole line and with None at the end.

    It reads the descriptor itself: a thread that waits inside sys.stdin would hold its lock when the program ends.
    """
    line = ""
    for key in _keys(descriptor):
        if key == END_OF_INPUT and not line:
            break
        if key in "\r\n":
            if line.strip():
                asked(line.strip())
            line = ""
        elif key in BACKSPACE:
            line = line[:-1]
        elif key.isprintable():
            line += key
        typed(line)
    if line.strip():
        asked(line.strip())
    asked(None)


def _keys(descriptor: int) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    while data := _read(descriptor):
        if not data.startswith(ESCAPE):  # an arrow key, which comes as one sequence
            yield from decoder.decode(data)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 4096)
    except OSError:  # closed, or none from the start
        return b""


@contextmanager
def _single_keys() -> Iterator[None]:
    """Keys come one by one and unechoed, where standard input is a terminal that can do so, and as before at the end."""
    if sys.platform == "win32" or not os.isatty(STDIN):
        yield
        return
    import termios
    import tty

    before = termios.tcgetattr(STDIN)
    tty.setcbreak(STDIN)
    try:
        yield
    finally:
        termios.tcsetattr(STDIN, termios.TCSADRAIN, before)

"""The live agent: sources fill a ring, one thread owns the model, and the event loop only waits.

async with Agent("film.mp4") as agent:
    async for piece in agent.ask("what do you see now?"):
        print(piece, end="")
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from favor_stream import when
from favor_stream.capture.inlet import Inlet
from favor_stream.config import Config
from favor_stream.errors import ConfigError, DeviceError, LeftError, Stale
from favor_stream.evidence import Archive
from favor_stream.feed import Feed, Listener
from favor_stream.intake import Intake
from favor_stream.journal import Journal
from favor_stream.lookout import Lookout
from favor_stream.memory import LEFT, Memory, Schema
from favor_stream.mind import Mind
from favor_stream.recall import Recall, opened
from favor_stream.records import SLICE_S, Answer, Event, Perceived, Perception, Turn, Watch
from favor_stream.rehearsal import Rehearsal, rehearse
from favor_stream.reply import Reply
from favor_stream.ring import Clip, Counts
from favor_stream.session import SAID_LAST, SPOKEN
from favor_stream.signals import Hearing, Signals
from favor_stream.voice import Utterances
from favor_stream.watches import BACK_S, Now
from favor_stream.when import Span

OPENING_S = 5.0  # how long entering waits for a first slice before it lets a slow camera be slow
BEHIND_S = 0.75  # beyond this lag nothing is put in words
MOST_NOWAIT = 4  # questions that were asked without waiting and are not answered yet


class Agent:
    """Perceives its sources from entering to leaving, and can be asked at any moment.

    Three boundaries: devices -> ring, event loop <-> model thread, feed -> listeners. A perception step and the next token of an
    answer are each one job of the model thread, so neither waits for more than one of the other.
    """

    def __init__(
        self,
        *sources: str | Inlet,
        config: Config | None = None,
        pace: Literal["live", "fast"] = "live",
        perceive_every: int = 2,
        watches: Sequence[Watch] = (),
        mind: Mind | None = None,
        journal: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`pace` "fast" reads files as fast as the model goes; `perceive_every` slices it is told what is perceived, 0: never.

        `watches` are watched besides those of the configuration; what they see is told by `events`. `mind`: a model that was
        entered already and that agents share; None: one of its own. `journal`: a file for what was perceived, so that a restart
        remembers and a question may name a time. `clock`: what live sources are timed by, in seconds; a simulator's, say.
        """
        if not sources:
            raise DeviceError("no source was given; name a file, an address, `camera` or `microphone`")
        self._config, self._perceive_every = config or Config(), perceive_every
        c, self._feed = self._config, Feed()
        self._clock, self._is_live = clock, pace == "live"
        self._intake = Intake(sources, c, pace, self.publish, clock)
        self._is_brought = any(isinstance(source, Inlet) for source in sources)  # somebody waits to begin with it
        archive = Archive(c.evidence, c.evidence_days, c.evidence_mb) if c.evidence else None
        watches = [*c.watches, *watches]
        self._lookout = Lookout(watches, archive, self.clip, self._look, self._feed)
        self._utterances = Utterances() if c.voice else None
        self._signals = Signals(hearing() if c.voice or any(watch.by == "speech" for watch in watches) else None)
        self._told: Perceived | None = None  # what was perceived last
        self._newest: Perception | None = None  # replaced whole, so that any thread may read it
        self._nowait: set[Future[Answer]] = set()
        self._given_mind, self._own_mind = mind, Mind(c)
        self._journal = journal
        self._perceiving: asyncio.Task[None] | None = None
        self._moved = asyncio.Event()  # set, and replaced, after each slice and at the end
        self._memory: Memory | None = None

    async def __aenter__(self) -> Self:
        try:
            self._mind = self._given_mind or await self._own_mind.__aenter__()
            self._loop = asyncio.get_running_loop()
            session = await self._mind.compute(self._mind.session)
            self._memory = Memory(self._mind, session, self._now, lambda: self.lag_s)
            for watch in self.watches:
                self._require(watch)
            await self._intake.open()
            await self._remember()
            self._proving = asyncio.create_task(self._lookout.run(), name="prove")
            self._perceiving = asyncio.create_task(self._perceive(), name="perceive")
            self._perceiving.add_done_callback(lambda _: self._move())
            with suppress(TimeoutError):
                async with asyncio.timeout(0 if self.is_held or self._is_brought else OPENING_S):
                    await self.until(SLICE_S)
        except BaseException:  # also when entering is cancelled
            await self._close()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        lost = await self._close()
        if error is None and lost is not None:
            raise lost

    # What users call.

    def ask(
        self,
        question: str,
        keep: bool = False,
        schema: Schema | None = None,
        earlier: Sequence[Turn] = (),
        span: Span | None = None,
    ) -> Reply:
        """The answer piece by piece; leaving the loop early stops nothing, `aclose` does.

        ConfigError, with the first piece, for an empty or too long question. With a JSON `schema` the answer fills it;
        ConfigError for one that cannot be filled, or not within `max_answer_tokens`. `earlier` turns are what a follow-up
        question refers to. With a journal, `span` is the time that is asked about, and so is one that the question names, such
        as "at 14:05".
        """
        memory = self._entered
        if memory.recall and span is None:
            question, span = when.split(question, datetime.now().astimezone())
        if memory.recall and span:
            return Reply(question, partial(memory.write_past, span=span, schema=schema))
        return Reply(question, partial(memory.write, keep=keep, schema=schema, earlier=earlier))

    def ask_spoken(self) -> Reply:
        """The answer to what somebody has asked aloud, last."""
        return self.ask(SPOKEN)

    async def answer(self, question: str, keep: bool = False, schema: Schema | None = None) -> Answer:
        """The whole answer with its times."""
        return await self.ask(question, keep, schema).whole()

    def latest(self, max_age_s: float = 1.0) -> Perception:
        """What is known of the newest half second; from any thread, and it never waits. For a control loop.

        A half second is known when it is over and the model has seen it, so an age of less than that is seldom met. Raises
        Stale when it is older, as it is once a camera or the model is gone: the same one is never told for ever.
        """
        newest = self._newest
        if newest is None:
            raise Stale("nothing was perceived yet; expected a source that brings something; wait, or look at its events")
        age_s = self._clock() - newest.captured_s
        if age_s > max_age_s:
            text = f"what was perceived last is {age_s:.1f} s old; expected {max_age_s:g} s at most; wait for more"
            raise Stale(f"{text} ({self.failure})" if self.failure else text)
        return newest

    def ask_nowait(self, question: str, within_s: float = 10.0) -> Future[Answer]:
        """Asked from any thread, and it never waits: the answer is in the future once that is `done`.

        The future's error is Stale where there is no answer within so many seconds, or too many questions wait already;
        LeftError where the agent is left meanwhile. Cancelling it takes the question back.
        """
        if self._entered.is_left:
            raise LeftError(LEFT)
        if len(self._nowait) >= MOST_NOWAIT:
            raise Stale(f"{MOST_NOWAIT} questions wait for an answer; expected fewer; ask again when one is done")
        asked = asyncio.run_coroutine_threadsafe(self._answer_within(question, within_s), self._loop)
        self._nowait.add(asked)
        asked.add_done_callback(self._nowait.discard)
        return asked

    async def check(self, questions: list[str]) -> list[float]:
        """The probability of yes for each question, all in one pass."""
        return await self._entered.check(questions)

    async def forget(self) -> None:
        """Forget everything that was perceived, what was written down of it too; the stream's time goes on."""
        await self._entered.forget()

    async def hold(self) -> None:
        """Privacy: every device is closed, what the ring kept is dropped, and the stream's time stands still until `resume`."""
        await self._intake.hold()

    def begin_held(self) -> None:
        """Before entering: open no device until `resume`."""
        self._intake.begin_held()

    def resume(self) -> None:
        """Open the devices again; the memory is as it was."""
        self._intake.resume()

    @property
    def is_held(self) -> bool:
        return self._intake.is_held

    def when_answered(self, call: Callable[[Answer], None]) -> None:
        """Call this, on the event loop, with every answer that is complete, whoever asked."""
        self._entered.when_answered.append(call)

    def publish(self, event: Event) -> None:
        """Tell all listeners: for faces, which have losses of their own."""
        self._feed.publish(event)

    def events(self) -> Listener:
        """Events from now on: what is perceived, devices lost and found, overload, the end."""
        return self._feed.listen()

    async def until(self, seconds: float) -> None:
        """Wait until so much of the stream was perceived, or all of it; raises what went wrong, such as DeviceError."""
        assert self._perceiving is not None, "wait inside `async with`"
        while self.heard_until_s < seconds and not self._perceiving.done():
            await self._moved.wait()
        if self._perceiving.cancelled():
            raise LeftError(LEFT)
        if self._perceiving.done():
            self._perceiving.result()

    async def ended(self) -> None:
        """Wait until every source has ended and everything was perceived; raises what went wrong, such as DeviceError."""
        await self.until(math.inf)

    @property
    def watches(self) -> list[Watch]:
        """What is watched, as it is set now."""
        return self._lookout.watches

    async def change(self, watch: Watch) -> None:
        """Watch so from now on: `replace(watch, is_on=False)`, say. ConfigError where none of its name is watched."""
        await self._lookout.change(watch, self._now())

    def watch(self, watch: Watch) -> None:
        """Watch this too from now on. ConfigError where its name is taken, its gate not watched, or its words cannot be asked."""
        if watch.by == "speech" and not self._signals.hears_speech:
            raise ConfigError(f"watch {watch.name!r} is by speech; start with --voice, or with such a watch in the settings")
        self._require(watch)
        self._lookout.add(watch)

    async def unwatch(self, name: str) -> None:
        """Watch it no longer; what goes on, ends. ConfigError where none of that name is watched, or it is a gate."""
        await self._lookout.remove(name, self._now())

    def fire(self, name: str) -> None:
        """Tell the watch of that name with the next slice; ConfigError where none is by "manual"."""
        self._lookout.fire(name)

    @property
    def levels(self) -> dict[str, list[tuple[float, float]]]:
        """Of each watch, by its name, how likely it was in the last minute: the end of each slice, and its value."""
        return self._lookout.levels

    async def rehearse(self, watch: Watch, last_s: float) -> Rehearsal:
        """What this watch would have told in the last seconds, as far as the ring has kept them. No memory is touched."""
        clip = self.clip(last_s)
        return await rehearse(self._mind, watch, clip, datetime.now(UTC))

    async def pause(self) -> None:
        """Go on perceiving and answering, and watch nothing until `unpause`."""
        await self._lookout.pause(self._now())

    def unpause(self) -> None:
        self._lookout.is_paused = False

    @property
    def is_paused(self) -> bool:
        return self._lookout.is_paused

    def clip(self, last_s: float) -> Clip:
        """The last seconds of sound and pictures, for favor_stream.clip.write_clip."""
        return self._intake.clip(last_s)

    async def past(self) -> tuple[datetime, datetime] | None:
        """From when to when can be asked about because it was written down; None without a journal, or with an empty one."""
        recall = self._entered.recall
        return await recall.reach() if recall else None

    @property
    def engines(self) -> Mapping[str, str]:
        """What runs each part that perceives."""
        return self._entered.session.engines

    def utc(self, stream_s: float) -> datetime:
        """When a moment of the stream was, as long as no device was closed since."""
        return self._intake.captured_at(stream_s)

    def captured_s(self, stream_s: float) -> float:
        """The same on the clock that live sources are timed by."""
        return self._intake.captured_s(stream_s)

    @property
    def sources(self) -> list[str]:
        """Names of the devices and films, as they may be shown."""
        return self._intake.names

    @property
    def counts(self) -> Counts:
        """Pictures and samples in, used and lost."""
        return self._intake.counts

    @property
    def drift_ppm(self) -> float | None:
        """How much faster the sound device's clock runs than this machine's; None for a film, and before it is known."""
        return self._intake.drift_ppm

    @property
    def heard_until_s(self) -> float:
        """The stream's time up to which everything was perceived."""
        return self._memory.session.heard_until_s if self._memory else 0.0

    @property
    def failure(self) -> str:
        """What perception has ended with, if it went wrong; answers rest on what came before."""
        if self._perceiving is None or not self._perceiving.done() or self._perceiving.cancelled():
            return ""
        error = self._perceiving.exception()
        return "" if error is None else str(error) or type(error).__name__

    @property
    def lag_s(self) -> float:
        """How far perception is behind the devices, in seconds; up to one slice is the slice that is still filling."""
        return max(0.0, self._intake.arrived_s - self.heard_until_s)

    @property
    def tokens(self) -> int:
        """Tokens in the memory."""
        return self._entered.session.tokens

    @property
    def budget_tokens(self) -> int:
        """How many tokens the memory holds before its oldest are forgotten."""
        return self._entered.session.budget_tokens

    @property
    def real_time_factor(self) -> float:
        """Seconds of perceiving for a second of stream, so far; more than 1 cannot keep up."""
        return self._entered.real_time_factor

    @property
    def remembered_s(self) -> tuple[float, float]:
        """From when to when the memory reaches."""
        return self._entered.remembered_s

    # Perception.

    async def _perceive(self) -> None:
        lost = (0, 0)
        try:
            while (piece := await self._intake.take()) is not None:
                await self._entered.see(piece, self._signals)
                self._move()
                await self._lookout.notice(self._signals, self._now(), self._told_text)
                await self._watch()
                self._renew()
                await self._listen()
                if self._perceive_every and piece.index % self._perceive_every == self._perceive_every - 1:
                    await self._tell()
                lost = self._tell_losses(lost)
            await self._lookout.stop(self._now())
            await self._proving
            self._feed.publish(Event("ended", self.heard_until_s, "every source has ended"))
        finally:
            self._feed.close()

    async def _tell(self) -> None:
        is_behind = self._is_live and self.lag_s > BEHIND_S
        if self._entered.is_asked or is_behind:  # somebody's answer comes first, and so does catching up
            return
        perceived = await self._entered.perceived()
        if perceived.text != self._told_text:
            self._feed.publish(perceived)
        self._told = perceived
        self._renew()

    @property
    def _told_text(self) -> str:
        return self._told.text if self._told else ""

    def _renew(self) -> None:
        """What `latest` tells from now on."""
        now = self._now()
        chances, holding = self._lookout.chances
        self._newest = Perception(now.end_s, self._intake.captured_s(now.end_s), now.at, chances, holding, self._told)

    def _tell_losses(self, told: tuple[int, int]) -> tuple[int, int]:
        """Overload is told when it grows; returns pictures dropped and slices lost, so far."""
        counts = self.counts
        lost = counts.pictures_dropped, counts.slices_lost
        if lost != told:
            pictures, sound_s = lost[0] - told[0], (lost[1] - told[1]) * SLICE_S
            text = f"{pictures} pictures and {sound_s:g} s of sound were dropped to keep up"
            self._feed.publish(Event("overload", self.heard_until_s, text))
        return lost

    async def _listen(self) -> None:
        """Answer what was said last, if that is a question and somebody has finished it; once, until something else is said."""
        if self._utterances is None:
            return
        self._utterances.step(self._signals.speech)
        if not self._utterances.is_waiting or self._entered.is_asked:  # somebody's answer comes first
            return
        if self._utterances.is_new_question((await self.answer(SAID_LAST)).text):
            self._feed.publish(Event("answer", self.heard_until_s, (await self.answer(SPOKEN)).text))

    async def _answer_within(self, question: str, within_s: float) -> Answer:
        try:
            async with asyncio.timeout(within_s):
                return await self.answer(question)
        except TimeoutError as error:
            raise Stale(f"there is no answer within {within_s:g} s; give it longer, or ask less at once") from error

    # Watches.

    def _now(self) -> Now:
        return Now(self.heard_until_s, self._intake.captured_at(self.heard_until_s))

    def _require(self, watch: Watch) -> None:
        """Raises ConfigError for words that the model cannot be asked: every slice would fail of them."""
        if watch.by != "model" or self._memory is None:  # before it is entered, which looks again
            return
        try:
            self._memory.session.require(watch.asked)
        except ConfigError as error:
            raise ConfigError(f"watch {watch.name!r}: {error}") from None

    async def _watch(self) -> None:
        """Ask every watch of the slice that was just seen, in one pass; not while somebody's answer is being written."""
        asked = self._lookout.asked(self._now())
        if not asked or self._entered.is_asked:
            return
        chances = await self._entered.check([watching.watch.asked for watching in asked], BACK_S)
        await self._lookout.judge(asked, chances, self._now(), self._told_text)

    async def _look(self, watch: Watch) -> str | None:
        """Its second look's answer; None while somebody else is being answered, who may be slow to take it."""
        if self._entered.is_asked:
            return None
        schema = json.loads(watch.schema) if watch.schema else None
        return (await self.answer(watch.look, schema=schema)).text

    def _move(self) -> None:
        """Wakes whoever waits for the stream's time."""
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    async def _remember(self) -> None:
        """What was perceived before a restart, where a journal has it; a film begins anew."""
        if self._journal is None:
            return
        c = self._config
        try:
            opening = partial(Journal, self._journal, self._mind.weights, int(c.journal_mb * 1e6), c.journal_hours * 3600)
            recall = Recall(await opened(opening), self.publish)
            await self._entered.restore(recall, c.context_s, self._intake.is_endless)
        except DeviceError as error:  # perceiving goes on without
            self.publish(Event("error", 0.0, str(error)))

    @property
    def _entered(self) -> Memory:
        """Raises LeftError before the agent is entered."""
        if self._memory is None:
            raise LeftError("the agent was not entered yet; ask inside `async with`")
        return self._memory

    async def _close(self) -> BaseException | None:
        """Leaves everything and returns what perception ended with, if it went wrong."""
        lost = None
        if self._memory:
            self._memory.leave()
        await asyncio.gather(*map(asyncio.wrap_future, list(self._nowait)), return_exceptions=True)  # each is told LeftError
        if self._perceiving is not None:
            self._perceiving.cancel()
            await asyncio.wait({self._perceiving})
            lost = None if self._perceiving.cancelled() else self._perceiving.exception()
            self._proving.cancel()
            await asyncio.wait({self._proving})
        await self._intake.close()
        if self._memory:
            await self._memory.close()
        self._feed.close()
        await self._own_mind.close()
        return lost


def hearing() -> Hearing:
    """Who tells speech from noise; of an extra, so only where it is wanted."""
    from favor_stream.vad import VoiceActivity

    return VoiceActivity()

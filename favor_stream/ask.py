"""A source is seen to its end, or to a moment of it, and asked about; without an agent, for nothing else happens meanwhile."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from itertools import takewhile

from favor_stream.capture import AGAIN, LiveSource, Source, open_source
from favor_stream.config import Config
from favor_stream.errors import ConfigError, DeviceError
from favor_stream.records import Answer, Event
from favor_stream.ring import Ring
from favor_stream.session import Session, load_session


def run(source: str, questions: Sequence[str], config: Config, at_s: float, realtime: bool, json_out: bool) -> int:
    """Every question is answered on a branch of the one memory. Raises what a wrong source or question raises."""
    session = load_session(config)
    for question in questions:
        session.ask(question).close()  # refused now rather than after the film
    _perceive(session, source, config, at_s, realtime)
    streams = len(questions) == 1 and sys.stdout.isatty() and not json_out
    for question in questions:
        answer = _answered(session, question, streams)
        if json_out:
            print(json.dumps(asdict(answer)), flush=True)
        elif streams:
            print()
        else:
            print(answer.text if len(questions) == 1 else f"{question}\n  {answer.text}", flush=True)
    return 0


def _perceive(session: Session, name: str, config: Config, at_s: float, realtime: bool) -> None:
    """Lets the session see slice after slice; DeviceError when there was none."""
    ring, source = _opened(name, config, at_s, realtime)
    with source:
        for piece in takewhile(lambda piece: piece.end_s <= at_s, ring):
            session.see(piece)
    if session.heard_until_s <= 0:
        raise DeviceError(f"{name}: nothing was seen or heard until then; a film or recording of half a second or more is needed")


def _opened(name: str, config: Config, at_s: float, realtime: bool) -> tuple[Ring, Source]:
    """A ring and the source that will fill it: a file as fast as it is seen, unless `realtime`; a device at its own pace."""
    ring = Ring(config.keep_s, config.picture_hold_s, config.lag_s, "live" if realtime else "lossless")
    source = open_source(name, ring, partial(_tell_losses, ring), config.pictures_per_s)
    if source.is_endless and at_s == math.inf:
        raise ConfigError(f"{name} may have no end; say when to answer with --at SECONDS, or use favor-stream live")
    if isinstance(source, LiveSource) and not realtime:
        return _opened(name, config, at_s, realtime=True)
    return ring, source


def _tell_losses(ring: Ring, event: Event) -> None:
    """What was lost goes to standard error; a device that is not there at all ends the reading."""
    if event.kind == "lost" and ring.elapsed_s == 0:
        ring.fail(DeviceError(event.text.removesuffix(AGAIN)))
    elif event.is_news:
        print(f"favor-stream: {event.text}", file=sys.stderr)


def _answered(session: Session, question: str, streams: bool) -> Answer:
    """The answer with its times; `streams`: printed while it is written."""
    begun_s = time.monotonic()
    first_s, pieces = None, []
    for piece in session.ask(question):
        first_s = time.monotonic() if first_s is None else first_s
        pieces.append(piece)
        if streams:
            print(piece, end="", flush=True)
    ended_s = time.monotonic()
    first_token_s = (first_s or ended_s) - begun_s
    return Answer(question, "".join(pieces).strip(), session.heard_until_s, first_token_s, ended_s - begun_s)

"""Asks the model about a data set, item by item through the session that the live agent uses, and prints its scores."""

from __future__ import annotations

import importlib.util
import json
import shlex
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np

from favor_stream.aveb.metrics import interval, ratio, reply_alone
from favor_stream.aveb.sets.item import Item, Media
from favor_stream.aveb.sets.known import SETS, DataSet, items
from favor_stream.aveb.sets.playing import perceive
from favor_stream.aveb.sets.scores import WER, Measure
from favor_stream.config import SHIPPED, Config
from favor_stream.errors import ConfigError, DeviceError, EngineError
from favor_stream.records import Event
from favor_stream.session import Session, load_session

TRANSCRIPT_TOKENS = 256  # for the longest half minute of LibriSpeech; a cut transcript would be a worse one
SEED = 0  # of the sample that is asked where the limit leaves some out


@dataclass(frozen=True, slots=True)
class Reply:
    item: Item
    said: str = ""
    trouble: str = ""  # why it could not be asked; empty when it was


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; scores in 0..1 (WER may be more)."""

    name: str
    task: str
    items: int
    passed_over: int  # could not be decoded or asked
    metric: str
    is_published: bool  # the metric is the one that results of the set are told in
    score: float
    low: float  # 95 % bootstrap interval over items
    high: float


def run(config: Config, name: str, folder: Path, limit: int, json_out: bool) -> int:
    """Ask `limit` items of a set and print the table, or with `json_out` one JSON object with every reply.

    Raises ConfigError for a set that is unknown, missing, broken or half there, EngineError where a package is missing, and
    DeviceError where nothing of it could be decoded.
    """
    whole, lists = items(name, folder)
    known = SETS[name]
    _check_installed(known, whole)
    tokens = max(config.max_answer_tokens, TRANSCRIPT_TOKENS if WER in known.measures else 0)
    session = load_session(replace(config, max_answer_tokens=tokens))
    replies = list(answered(session, config, sample(whole, limit)))
    rows = [row(name, known, measure, replies) for measure in known.measures]
    words = ["favor-stream", "eval", "--set", name, "--folder", str(folder), "--limit", str(limit), *["--json"] * json_out]
    command, made_with = shlex.join(words), str(config.weights or SHIPPED)
    listed = lists[0].name if len(lists) == 1 else f"its {len(lists)} lists"
    if json_out:
        about = {"set": name, "title": known.title, "of": len(whole), "lists": [str(path) for path in lists], "note": known.note}
        about |= {"weights": made_with, "command": command}
        print(json.dumps({**about, "rows": [asdict(each) for each in rows], "replies": [_plain(each) for each in replies]}))
        return 0
    print(table(rows))
    print(f"\n{len(replies)} of the {len(whole)} items of {known.title} that {listed} name. {known.note}".rstrip())
    print(f"Made with {made_with} by: {command}")
    return 0


def sample(whole: list[Item], limit: int) -> list[Item]:
    """So many of them, drawn from a seed and in their order; the first ones might all be of one speaker."""
    if limit >= len(whole):
        return whole
    drawn = np.random.default_rng(SEED).choice(len(whole), limit, replace=False)
    return [whole[index] for index in sorted(drawn)]


def answered(session: Session, config: Config, chosen: list[Item]) -> Iterator[Reply]:
    """What the session says to each item; those that come one after the other about the same media are asked of one memory."""
    number = 0
    for media, about in groupby(chosen, key=lambda item: item.media):
        trouble = _perceived(session, media, config)
        for item in about:
            number += 1
            print(f"\ritem {number}/{len(chosen)}", end="", file=sys.stderr, flush=True)
            reply = Reply(item, trouble=trouble) if trouble else _asked(session, item)
            if reply.trouble:
                print(f"\nfavor-stream: {item.name} is passed over: {reply.trouble}", file=sys.stderr)
            yield reply
    print(file=sys.stderr)


def ask(session: Session, item: Item) -> str:
    """The answer. Where it must be one of the choices, the model says the one that it finds likeliest, token by token."""
    schema = {"enum": list(item.choices)} if item.choices else None
    said = "".join(session.ask(item.question, schema=schema, earlier=item.earlier)).strip()
    if item.choices:
        return str(json.loads(said))
    return reply_alone(said) if item.media.said else said


def row(name: str, known: DataSet, measure: Measure, replies: list[Reply]) -> Row:
    """Raises DeviceError where none of the items could be asked."""
    asked = [reply for reply in replies if not reply.trouble]
    if not asked:
        raise DeviceError(f"none of {len(replies)} items of {known.title} could be asked; the first: {replies[0].trouble}")
    parts = np.array([measure.parts(reply.item, reply.said) for reply in asked])
    low, high = interval(parts)
    passed_over = len(replies) - len(asked)
    return Row(name, known.task, len(asked), passed_over, measure.name, measure.is_published, ratio(parts), low, high)


def table(rows: list[Row]) -> str:
    """Markdown."""
    lines = ["| set | task | items | passed over | metric | score | 95 % |", "|---|---|--:|--:|---|--:|--:|"]
    for r in rows:
        metric = r.metric if r.is_published else f"{r.metric} (not the published metric)"
        lines.append(
            f"| {r.name} | {r.task} | {r.items} | {r.passed_over} | {metric} | {r.score:.1%} | {r.low:.1%} .. {r.high:.1%} |"
        )
    return "\n".join(lines)


def _perceived(session: Session, media: Media, config: Config) -> str:
    """What went wrong, if anything did."""
    try:
        perceive(session, media, config, _tell)
    except (DeviceError, ConfigError) as error:
        return str(error)
    return ""


def _asked(session: Session, item: Item) -> Reply:
    try:
        return Reply(item, ask(session, item))
    except ConfigError as error:  # a question that is too long, or holds a control token
        return Reply(item, trouble=str(error))


def _plain(reply: Reply) -> dict[str, object]:
    """A reply as JSON has it."""
    item = reply.item
    files = [str(path) for path in item.media.paths]
    asked = {"name": item.name, "files": files, "question": item.media.said or item.question, "answers": list(item.answers)}
    return {**asked, "said": reply.said, "trouble": reply.trouble}


def _tell(event: Event) -> None:
    if event.is_news:
        print(f"\nfavor-stream: {event.text}", file=sys.stderr)


def _check_installed(known: DataSet, whole: list[Item]) -> None:
    """Now rather than after the first hour."""
    needs = (("jiwer", "train", WER in known.measures), ("llguidance", "schema", any(item.choices for item in whole)))
    for package, extra, is_needed in needs:
        if is_needed and importlib.util.find_spec(package) is None:
            told = f"{known.title} is measured with {package}, which is not installed"
            raise EngineError(f"{told}; pip install --editable '.[{extra}]'")

"""Events and answers as JSON for whoever is outside: stable names, UTC times, the hash of all evidence."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from favor_stream.records import Answer, Event, Evidence, WatchEvent
from favor_stream.reply import Reply

SCHEMA_VERSION = 1
MOST_CHARACTERS = 255  # of a state that Home Assistant takes
Json = dict[str, Any]


def event(told: WatchEvent, published_at: datetime) -> Json:
    """All phases of a happening have one id; a message that comes twice has the same id and phase."""
    began_at = told.captured_at - timedelta(seconds=told.time_s - told.started_s)
    return {
        "schema_version": SCHEMA_VERSION,
        "id": told.id,
        "phase": told.phase,
        "event_type": told.watch.name,
        "trigger": {"id": told.watch.name, "kind": told.watch.by, "question": told.watch.question},
        "severity": told.watch.severity,
        "summary": shortened(told.watch.question),
        "description": told.text,
        "confidence": round(told.confidence, 4),
        "confidence_kind": "raw",
        "evidence": {"t_start": utc(began_at), "t_end": utc(told.captured_at)},
        "t_captured": utc(told.captured_at),
        "t_published": utc(published_at),
        "latency_ms": round((published_at - told.captured_at).total_seconds() * 1000),
        "snapshot": file(told.snapshot),
        "clip": file(told.clip),
        "suppressed_count": told.suppressed,
        "data": told.data,
    }


def answer(given: Answer, request: str) -> Json:
    return {
        "schema_version": SCHEMA_VERSION,
        "id": request,
        "question": given.question,
        "text": given.text,
        "heard_until_s": given.heard_until_s,
        "latency_ms": {"first_token": round(given.first_token_s * 1000), "total": round(given.total_s * 1000)},
    }


def reply(given: Reply) -> Json:
    """An answer that is complete, with what it rests on and where its time went."""
    spent = {name.removesuffix("_s"): round(seconds * 1000, 1) for name, seconds in asdict(given.latency).items()}
    return {
        "schema_version": SCHEMA_VERSION,
        "question": given.question,
        "text": given.text.strip(),
        "rests_on_s": [given.since_s, given.until_s],
        "heard_until_s": given.until_s,
        "latency_ms": spent,
    }


def news(told: Event) -> Json:
    """An event that is no watch's: what is perceived, a device that was lost or found, an error."""
    return {"schema_version": SCHEMA_VERSION, "kind": told.kind, "time_s": told.time_s, "text": told.text}


def file(shown: Evidence | None) -> Json | None:
    return None if shown is None else {"url": Path(shown.path).absolute().as_uri(), "sha256": shown.sha256}


def utc(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def shortened(text: str) -> str:
    """Cut at a word, so that it is a state."""
    if len(text) <= MOST_CHARACTERS:
        return text
    return text[: MOST_CHARACTERS - 3].rsplit(" ", 1)[0] + "..."

"""What the outside is told of an event."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from favor_stream import payload
from favor_stream.evidence import shown
from favor_stream.records import Watch, WatchEvent

AT = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)
EVENT = WatchEvent(
    kind="watch",
    time_s=12.5,
    text="sees a star",
    id="01X",
    watch=Watch("star", "a star appears"),
    phase="new",
    confidence=0.91239,
    started_s=11.5,
    captured_at=AT,
    suppressed=2,
)


def test_times_are_utc_and_say_what_the_event_rests_on() -> None:
    told = payload.event(EVENT, AT + timedelta(milliseconds=321))
    assert told["t_captured"] == "2026-05-01T12:00:00.000Z"
    assert told["evidence"] == {"t_start": "2026-05-01T11:59:59.000Z", "t_end": "2026-05-01T12:00:00.000Z"}
    assert (told["latency_ms"], told["confidence"], told["suppressed_count"]) == (321, 0.9124, 2)
    assert json.loads(json.dumps(told)) == told


def test_evidence_is_named_with_its_hash(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"picture")
    told = payload.file(shown(tmp_path / "a.jpg"))
    assert told == {"url": (tmp_path / "a.jpg").as_uri(), "sha256": hashlib.sha256(b"picture").hexdigest()}
    assert payload.file(None) is None


@given(st.text(max_size=600))
def test_states_are_never_too_long_for_home_assistant(text: str) -> None:
    short = payload.shortened(text)
    assert len(short) <= 255
    assert short == text or short.endswith("...")

"""Real parts that a test needs: a sound server, an RTSP server, a camera."""

from __future__ import annotations

import os

import pytest


def require(present: object, lacking: str) -> None:
    """Skips the test that calls it when a part is not there, or fails it where FAVOR_REQUIRE_REAL=1 says that it must be."""
    if present:
        return
    if os.environ.get("FAVOR_REQUIRE_REAL") == "1":
        pytest.fail(f"{lacking} (FAVOR_REQUIRE_REAL=1 says that it must be there)", pytrace=False)
    pytest.skip(lacking)

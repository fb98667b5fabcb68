"""What weights came from: the code, the machine, and the time that each stage took. It stands in their manifest."""

from __future__ import annotations

import json
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[2]  # of a checkout


def provenance(curves: Path) -> dict[str, Any]:
    """Of a run with these learning curves: `revision`, `hours` of steps and `stage_seconds` of each stage, `hardware`."""
    seconds = stage_seconds(curves)
    spent = {"hours": round(sum(seconds.values()) / 3600, 2), "stage_seconds": seconds}
    return {"revision": revision(ROOT), **spent, "hardware": hardware(), "torch": torch.__version__}


def revision(checkout: Path) -> str | None:
    """The commit that is checked out, with "-dirty" behind it where files differ; None for code that is in no checkout."""
    if not (checkout / ".git").exists():
        return None
    command = ["git", "describe", "--always", "--dirty", "--exclude=*", "--abbrev=12"]
    try:
        return subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):  # no git, or the checkout of somebody else, which git does not read
        return None


def hardware() -> str:
    """What multiplied."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{torch.get_num_threads()} cores, {platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


def stage_seconds(curves: Path) -> dict[str, float]:
    """What each stage took, whichever run it was finished in."""
    lines = [json.loads(line) for line in curves.read_text(encoding="utf-8").splitlines()]
    return {line["stage"]: line["seconds"] for line in lines}

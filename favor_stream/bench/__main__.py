"""python -m favor_stream.bench --gpu-report DIR: everything that a GPU has to show, in minutes, as files to be kept."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import torch

from favor_stream.bench import on_device
from favor_stream.bench.page import write
from favor_stream.bench.rows import Row, table
from favor_stream.bench.subject import random
from favor_stream.config import Config
from favor_stream.errors import ConfigError, DeviceError, FavorError

MINUTES = 120  # of stream, over which a slice must not become dearer


def report(folder: Path, preset: str, minutes: int = MINUTES) -> int:
    """Writes DEVICE-PRESET.json, .html and .png, anew with each thing measured. Raises ConfigError, DeviceError."""
    if minutes < 1:
        raise ConfigError(f"minutes is {minutes}; write 1 or more")
    if not torch.cuda.is_available():
        raise DeviceError("torch finds no CUDA here; run this on a machine with an NVIDIA GPU, or favor-stream bench")
    device, rows = torch.cuda.get_device_name(), list[Row]()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{device.replace(' ', '-')}-{preset}.json"
    told = {"device": device, "date": f"{datetime.now(UTC):%Y-%m-%d}", "torch": torch.__version__, "preset": preset}
    for measured in on_device(random(Config(device="cuda"), preset), quick=True, stream_minutes=minutes):
        rows += measured
        path.write_text(json.dumps(told | {"rows": [asdict(row) for row in rows]}, indent=1) + "\n", encoding="utf-8")
        write(path.with_suffix(".html"), rows)
    print(table(rows))
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m favor_stream.bench", description=__doc__)
    parser.add_argument("--gpu-report", type=Path, required=True, metavar="DIR", help="where the report is written")
    parser.add_argument("--preset", default="favor-13b", help="(%(default)s)")
    parser.add_argument(
        "--minutes", type=int, default=MINUTES, help="of stream, after which a slice is timed again (%(default)s)"
    )
    arguments = parser.parse_args()
    try:
        return report(arguments.gpu_report, arguments.preset, arguments.minutes)
    except FavorError as error:
        print(f"favor-stream: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())

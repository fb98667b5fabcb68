"""How a small computer is doing: how hot, how much slowed down, how much memory and how many cores are left to this process.

It reads /sys and /proc and nothing else, changes nothing, and takes a file that is not there as something that is not known.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Bits of the Raspberry Pi's firmware, as its documentation of `vcgencmd get_throttled` names them.
FIRMWARE_BITS = {
    0: "under-voltage",
    1: "frequency capped",
    2: "throttled",
    3: "soft temperature limit",
    16: "under-voltage has occurred",
    17: "frequency cap has occurred",
    18: "throttling has occurred",
    19: "soft temperature limit has occurred",
}
SLOWING = re.compile(r"cpufreq|devfreq|throttle|processor|gpu", re.IGNORECASE)  # of cooling devices; a fan slows nothing down
NO_SENSOR = ("PMIC-Die",)  # a Jetson's tells 50 or 100 degrees whatever it has
UNLIMITED_BYTES = 2**60  # cgroup v1 writes "no limit" as a number of about 2**63
MB = 1e6


@dataclass(frozen=True, slots=True)
class Reading:
    """How a board is at one moment; None: it does not tell."""

    model: str | None  # as its maker names it
    hottest_c: float | None
    hottest_zone: str | None  # the name of the sensor that tells it
    throttled: tuple[str, ...] | None  # what slows it down or has since it was started; (): nothing
    clock_mhz: float | None  # of the slowest cores, now
    clock_most_mhz: float | None  # of the same cores, when nothing holds them back
    memory_mb: float | None  # resident, of this process
    memory_limit_mb: float | None  # for this process: of its control group, or else the machine's
    cores: float | None  # that this process may use; 1.5 is one and half of another's time


class Board:
    """The board that this process runs on."""

    def __init__(self, root: Path = Path("/")) -> None:
        """`root` is the folder that /sys and /proc lie in."""
        self._sys, self._proc = root / "sys", root / "proc"

    def read(self) -> Reading:
        """A dozen small files, read anew each time."""
        zone, hottest_c = max(self._temperatures(), key=lambda each: each[1], default=(None, None))
        clock_mhz, clock_most_mhz = self._clocks()
        return Reading(
            text(self._proc / "device-tree" / "model"),
            hottest_c,
            zone,
            self._throttled(),
            clock_mhz,
            clock_most_mhz,
            self._kilobytes(self._proc / "self" / "status", "VmRSS"),
            self._memory_limit_mb(),
            self._cores(),
        )

    # Heat, and what is done about it.

    def _temperatures(self) -> Iterator[tuple[str, float]]:
        for folder in sorted((self._sys / "class" / "thermal").glob("thermal_zone*")):
            zone, thousandths_c = text(folder / "type") or folder.name, whole(folder / "temp")
            if thousandths_c is not None and zone not in NO_SENSOR:
                yield zone, thousandths_c / 1000

    def _throttled(self) -> tuple[str, ...] | None:
        firmware = [*(self._sys / "devices" / "platform").glob("soc*/soc*:firmware/get_throttled")]
        bits = next((found for path in firmware if (found := whole(path, 16)) is not None), None)
        told = [name for bit, name in FIRMWARE_BITS.items() if bits and bits >> bit & 1]
        cooling = [*self._cooling()]
        return None if bits is None and not cooling else (*told, *(words for words in cooling if words))

    def _cooling(self) -> Iterator[str]:
        """Of each part that can be slowed down, how much it is; empty for one that is not."""
        clock_mhz, most_mhz = self._clocks()
        for folder in sorted((self._sys / "class" / "thermal").glob("cooling_device*")):
            name, step, steps = text(folder / "type"), whole(folder / "cur_state"), whole(folder / "max_state")
            if name is None or step is None or not SLOWING.search(name):
                continue
            at_full_speed = "cpufreq" in name and clock_mhz is not None and most_mhz is not None and clock_mhz >= most_mhz
            yield f"{name} {step}/{steps}" if step > 0 and not at_full_speed else ""

    def _clocks(self) -> tuple[float | None, float | None]:
        """Megahertz now and at most, of the cores that are furthest below their most."""
        folders = (self._sys / "devices" / "system" / "cpu" / "cpufreq").glob("policy*")
        clocks = [(whole(folder / "scaling_cur_freq"), whole(folder / "cpuinfo_max_freq")) for folder in folders]
        known = [(now / 1000, most / 1000) for now, most in clocks if now is not None and most]
        return min(known, key=lambda clock: clock[0] / clock[1], default=(None, None))

    # What this process may have.

    def _memory_limit_mb(self) -> float | None:
        limits = [self._kilobytes(self._proc / "meminfo", "MemTotal")]
        for name, controller in (("memory.max", ""), ("memory.limit_in_bytes", "memory")):
            for folder in self._groups(controller):
                limit = whole(folder / name)  # None for "max"
                limits.append(limit / MB if limit is not None and limit < UNLIMITED_BYTES else None)
        return min((limit for limit in limits if limit is not None), default=None)

    def _cores(self) -> float | None:
        shares = [float(count)] if (count := self._allowed_cores()) else []
        for folder in self._groups(""):
            quota, _, period = (text(folder / "cpu.max") or "max 1").partition(" ")
            if quota.isdigit() and period.isdigit():
                shares.append(int(quota) / int(period))
        for folder in self._groups("cpu"):
            quota_us, period_us = whole(folder / "cpu.cfs_quota_us"), whole(folder / "cpu.cfs_period_us")
            if quota_us and quota_us > 0 and period_us:
                shares.append(quota_us / period_us)
        return min(shares, default=None)

    def _allowed_cores(self) -> int | None:
        """How many cores the scheduler may put this process on, from a list such as 0-3,8."""
        ranges = re.findall(r"(\d+)(?:-(\d+))?", self._field(self._proc / "self" / "status", "Cpus_allowed_list"))
        return sum(int(last or first) - int(first) + 1 for first, last in ranges) or None

    def _groups(self, controller: str) -> Iterator[Path]:
        """The folder of this process's control group and those above it, for a v1 controller or for v2 ("").

        Inside a container the group's path may be the host's, which is not there; the topmost folder is the container's then.
        """
        mounted = self._sys / "fs" / "cgroup"
        for line in (text(self._proc / "self" / "cgroup") or "").splitlines():
            _, _, rest = line.partition(":")
            names, _, path = rest.partition(":")
            if controller in names.split(","):
                top = next((each for each in (mounted / names, mounted / controller) if each.is_dir()), mounted)
                group = top / path.strip("/")
                yield from (folder for folder in (group, *group.parents) if folder.is_relative_to(top))

    def _kilobytes(self, path: Path, key: str) -> float | None:
        """Megabytes, from a line such as "VmRSS:  1200 kB", whose kilobytes have 1024 bytes."""
        amount = self._field(path, key).partition(" ")[0]
        return int(amount) * 1024 / MB if amount.isdigit() else None

    def _field(self, path: Path, key: str) -> str:
        lines = (text(path) or "").splitlines()
        return next((line.partition(":")[2].strip() for line in lines if line.startswith(f"{key}:")), "")


def text(path: Path) -> str | None:
    """What a file of the kernel holds, without the zero that ends a device tree's; None where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:  # absent, not allowed, or a sensor that is asleep
        return None


def whole(path: Path, radix: int = 10) -> int | None:
    try:
        return int(text(path) or "", radix)
    except ValueError:
        return None

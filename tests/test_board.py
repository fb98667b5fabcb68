"""What a board tells of itself, from folders that look like /sys and /proc of the boards that there are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from favor_stream.board import Board, Reading

NOTHING = Reading(None, None, None, None, None, None, None, None, None)


def board(root: Path, files: dict[str, str]) -> Reading:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return Board(root).read()


def zones(*pairs: tuple[str, str]) -> dict[str, str]:
    thermal = "sys/class/thermal/thermal_zone"
    return {f"{thermal}{k}/{file}": pair[j] for k, pair in enumerate(pairs) for j, file in enumerate(("type", "temp"))}


def cooling(*parts: tuple[str, int, int]) -> dict[str, str]:
    names = ("type", "cur_state", "max_state")
    return {f"sys/class/thermal/cooling_device{k}/{names[j]}": f"{part[j]}\n" for k, part in enumerate(parts) for j in range(3)}


def clock(policy: int, now_khz: int, most_khz: int) -> dict[str, str]:
    folder = f"sys/devices/system/cpu/cpufreq/policy{policy}"
    return {f"{folder}/scaling_cur_freq": f"{now_khz}\n", f"{folder}/cpuinfo_max_freq": f"{most_khz}\n"}


def groups(own: str, files: dict[str, str], cores: str = "0-3") -> dict[str, str]:
    status = f"Name:\tpython\nVmRSS:\t  500000 kB\nCpus_allowed_list:\t{cores}\n"
    machine = {"proc/meminfo": "MemTotal:        4000000 kB\nMemFree: 1 kB\n", "proc/self/status": status}
    return {**machine, "proc/self/cgroup": own, **{f"sys/fs/cgroup/{name}": content for name, content in files.items()}}


def test_empty_folder_tells_nothing_and_raises_nothing(tmp_path: Path) -> None:
    assert board(tmp_path, {}) == NOTHING


def test_files_that_hold_nonsense_are_files_that_tell_nothing(tmp_path: Path) -> None:
    files = {**zones(("cpu", "hot\n")), **cooling(("cpufreq-cpu0", 0, 3)), **groups("none\n", {"memory.max": "lots\n"}, cores="")}
    files["sys/class/thermal/cooling_device0/cur_state"] = ""
    files["proc/meminfo"] = "MemTotal:\n"
    reading = board(tmp_path, files)
    assert reading == Reading(None, None, None, None, None, None, 512.0, None, None)


def test_hottest_sensor_is_told_with_its_name(tmp_path: Path) -> None:
    reading = board(tmp_path, zones(("cpu-thermal", "48312\n"), ("gpu-thermal", "61500\n"), ("asleep", "")))
    assert (reading.hottest_zone, reading.hottest_c) == ("gpu-thermal", 61.5)


def test_sensor_that_always_says_100_degrees_is_not_believed(tmp_path: Path) -> None:
    reading = board(tmp_path, zones(("CPU-therm", "39000\n"), ("PMIC-Die", "100000\n")))
    assert (reading.hottest_zone, reading.hottest_c) == ("CPU-therm", 39.0)


def test_model_is_read_without_the_zero_at_its_end(tmp_path: Path) -> None:
    assert (
        board(tmp_path, {"proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0"}).model == "Raspberry Pi 5 Model B Rev 1.0"
    )


@pytest.mark.parametrize(
    ("bits", "told"),
    [
        ("0", ()),
        ("50005", ("under-voltage", "throttled", "under-voltage has occurred", "throttling has occurred")),
        ("80008", ("soft temperature limit", "soft temperature limit has occurred")),
        ("20002", ("frequency capped", "frequency cap has occurred")),
    ],
)
@pytest.mark.parametrize("folder", ["soc/soc:firmware", "soc@107c000000/soc@107c000000:firmware"])
def test_each_bit_of_a_raspberry_pi_has_its_words(tmp_path: Path, bits: str, told: tuple[str, ...], folder: str) -> None:
    assert board(tmp_path, {f"sys/devices/platform/{folder}/get_throttled": f"{bits}\n"}).throttled == told


def test_cooling_that_slows_the_processor_is_told_and_a_fan_is_not(tmp_path: Path) -> None:
    parts = cooling(("cpufreq-cpu0", 3, 10), ("pwm-fan", 2, 4), ("gpu-throttle-alert", 1, 1), ("devfreq-17000000.gpu", 0, 8))
    reading = board(tmp_path, {**parts, **clock(0, 1_113_600, 2_201_600), **clock(4, 2_201_600, 2_201_600)})
    assert reading.throttled == ("cpufreq-cpu0 3/10", "gpu-throttle-alert 1/1")
    assert (reading.clock_mhz, reading.clock_most_mhz) == (1113.6, 2201.6)


def test_slow_clock_without_cooling_is_an_idle_one(tmp_path: Path) -> None:
    assert board(tmp_path, {**cooling(("cpufreq-cpu0", 0, 10)), **clock(0, 600_000, 1_800_000)}).throttled == ()


def test_cooling_that_leaves_the_clock_at_its_most_slows_nothing(tmp_path: Path) -> None:
    assert board(tmp_path, {**cooling(("cpufreq-cpu0", 1, 10)), **clock(0, 1_800_000, 1_800_000)}).throttled == ()


def test_machine_without_groups_tells_its_own_memory_and_cores(tmp_path: Path) -> None:
    reading = board(tmp_path, groups("", {}, cores="0-1,4,6-7"))
    assert (reading.memory_mb, reading.memory_limit_mb, reading.cores) == (512.0, 4096.0, 5.0)


def test_narrowest_of_the_groups_above_counts(tmp_path: Path) -> None:
    files = {
        "robot/eyes/memory.max": "max\n",
        "robot/memory.max": "1000000000\n",
        "robot/eyes/cpu.max": "150000 100000\n",
        "robot/cpu.max": "max 100000\n",
    }
    reading = board(tmp_path, groups("0::/robot/eyes\n", files))
    assert (reading.memory_limit_mb, reading.cores) == (1000.0, 1.5)


def test_container_that_sees_the_host_s_path_is_limited_by_its_topmost_folder(tmp_path: Path) -> None:
    files = {"memory.max": "800000000\n", "cpu.max": "50000 100000\n"}
    reading = board(tmp_path, groups("0::/system.slice/docker-abc.scope\n", files))
    assert (reading.memory_limit_mb, reading.cores) == (800.0, 0.5)


def test_older_groups_are_read_by_controller(tmp_path: Path) -> None:
    files = {
        "memory/box/memory.limit_in_bytes": "700000000\n",
        "memory/memory.limit_in_bytes": "9223372036854771712\n",
        "cpu,cpuacct/box/cpu.cfs_quota_us": "200000\n",
        "cpu,cpuacct/box/cpu.cfs_period_us": "100000\n",
        "cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
        "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
    }
    reading = board(tmp_path, groups("9:memory:/box\n4:cpu,cpuacct:/box\n", files))
    assert (reading.memory_limit_mb, reading.cores) == (700.0, 2.0)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is on Linux alone")
def test_this_machine_tells_the_cores_and_the_memory_that_it_gives() -> None:
    program = """
import os
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
from favor_stream.board import Board
grown = bytes(100_000_000)
reading = Board().read()
print(reading.cores, reading.memory_mb, reading.memory_limit_mb)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=100)
    cores, memory_mb, limit_mb = map(float, run.stdout.split())
    assert 0 < cores <= 1
    assert 5 < memory_mb < limit_mb <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e6 + 1

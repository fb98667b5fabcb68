"""The page of an evaluation: what is on it, what it escapes, that its films play, and that nothing half written is left."""

from __future__ import annotations

import re
import resource
import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path

import av
import numpy as np
import pytest
from real import require

from favor_stream.aveb import confusion, report, worst
from favor_stream.aveb.answering import Reply
from favor_stream.aveb.evaluation import Row
from favor_stream.aveb.metrics import METRICS
from favor_stream.aveb.questions import Question
from favor_stream.aveb.script import Camera, Noise, Room, Script, Thing
from favor_stream.aveb.staged import Scene
from favor_stream.aveb.tasks import Task
from favor_stream.errors import DeviceError

pytest.importorskip("jiwer", reason="needs jiwer of the train extra")
RING = Thing("red", "ring", 0.0, 2.0, 0.5, 0.5, 0.2, "still", 0.0, 0, 0.0)
BEEP = Noise("beep", 0.2, 0.9, 0.5, 3)
COLOURS = Task("colours <&>", (("film", ("colour", "shape")),), "accuracy", 0.95, aveb="VQA")
SPEECH = Task("speech", (("speech", ("said",)),), "WER", 0.05, aveb="ASR")
EVENTS = Task("events", (("film", ("story",)),), "F1")


def scene(seed: int = 1, is_seen: bool = True, is_heard: bool = True) -> Scene:
    """Two seconds of a red ring, and a beep."""
    camera, room = Camera(1.0, 1.0, 0.0, 0), Room(-60.0, 0.5, 0.0)
    return Scene(Script(seed, 2.0, seed, "plain", camera, room, (RING,), (), (BEEP,), ()), is_seen, is_heard)


def reply(wanted: str, said: str, kind: str = "colour", of: Scene | None = None) -> Reply:
    return Reply(Question(kind, f"which {kind} for {wanted}?", wanted), said, "", of or scene())


def row(task: Task, reached: bool | None = False) -> Row:
    return Row(task.name, task.metric, 3, 0.425, 0.35, 0.5, 0.125, 0.25, (0.375,), task.goal, reached, task.aveb)


def written(folder: Path, task: Task, replies: list[Reply]) -> str:
    """The page about one task."""
    path = folder / "report.html"
    report.write(path, [row(task)], {task.name: (task, replies)}, "favor-stream eval --seed 7", 7)
    return path.read_text(encoding="utf-8")


class Reading(HTMLParser):
    """All tags with their attributes, and the text without markup."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += f"{data} "

    def every(self, tag: str, name: str) -> list[str]:
        return [attributes[name] or "" for found, attributes in self.tags if found == tag and name in attributes]


def left_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_page_holds_the_table_the_command_and_the_seed(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    rows = [row(COLOURS, reached=True), row(SPEECH), row(EVENTS, reached=None)]
    report.write(path, rows, {}, 'favor-stream eval --tasks "speech"', 4711, beside=["without-causal"])
    text = Reading(path.read_text(encoding="utf-8")).text
    assert "seed 4711" in text
    assert 'favor-stream eval --tasks "speech"' in text
    for told in (
        "42.5%",
        "35.0% .. 50.0%",
        "12.5%",
        "25.0%",
        "without-causal",
        "37.5%",
        ">= 95.0%",
        "<= 5.0%",
        "reached",
        "missed",
        "ASR",
    ):
        assert told in text
    assert left_in(tmp_path) == ["report.html"]


def test_page_asks_nobody_for_anything_but_its_films(tmp_path: Path) -> None:
    page = Reading(written(tmp_path, SPEECH, [reply("go on", "go", "said")]))
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "img", "iframe", "object", "source"})
    (film,) = page.every("video", "src")
    assert re.fullmatch(r"report_films/[0-9a-f]{16}\.mp4", film)
    assert (tmp_path / film).is_file()
    assert all(address.startswith("#") for address in page.every("a", "href"))


def test_whatever_a_model_says_is_shown_as_text(tmp_path: Path) -> None:
    nasty = """</dd><script>alert("1")</script><img src=x onerror='alert(2)'>&amp;"""
    raw = written(tmp_path, COLOURS, [reply("red", nasty), reply(nasty, "red")])
    page = Reading(raw)
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "img"})
    assert page.text.count(nasty) == 3  # asked about, wanted and said
    assert "colours <&>" in page.text
    (alt,) = page.every("svg", "aria-label")
    assert nasty in alt
    for task in (SPEECH, EVENTS):
        assert {tag for tag, _ in Reading(written(tmp_path, task, [reply("red", nasty)])).tags}.isdisjoint({"script", "img"})


def test_said_half_characters_do_not_lose_the_page(tmp_path: Path) -> None:
    assert "re?d" in Reading(written(tmp_path, COLOURS, [reply("red", "re\ud800d")])).text


def test_only_wrong_replies_are_shown_and_the_worst_first(tmp_path: Path) -> None:
    said = [("a b c d", "a b c d"), ("a b c d", "a b c x"), ("e f", "g h"), ("i j k", "l m n"), ("o p q r", "o p")]
    page = Reading(written(tmp_path, SPEECH, [reply(*each, kind="said") for each in said]))
    shown = re.findall(r"wanted (.+?) said (.+?) (?:asked|$)", page.text.replace("\n", " "))
    assert [wanted for wanted, _ in shown] == ["i j k", "e f", "o p q r", "a b c d"]
    assert "4 of 5 replies hold an error" in page.text


def test_worst_by_f1_lacks_the_largest_share() -> None:
    told = [reply("bell, dog", "bell"), reply("bell, dog", "bell, dog"), reply("bell", "horn"), reply("a, b", "c, d")]
    assert worst.wrong("F1", told) == [told[3], told[2], told[0]]


def test_twenty_cases_of_a_task_are_shown_at_most(tmp_path: Path) -> None:
    replies = [reply("red", f"blue {number}") for number in range(25)]
    page = Reading(written(tmp_path, COLOURS, replies))
    assert len(page.every("video", "src")) == worst.WORST == 20
    assert "blue 19" in page.text.split("The worst 20")[1]
    assert "25 of 25" in page.text


def test_task_without_a_mistake_has_no_cases(tmp_path: Path) -> None:
    page = Reading(written(tmp_path, SPEECH, [reply("go on", "go on", "said")]))
    assert "The worst" not in page.text
    assert page.every("svg", "role") == []
    assert left_in(tmp_path) == ["report.html"]


def test_task_that_was_asked_nothing_has_no_section(tmp_path: Path) -> None:
    page = Reading(written(tmp_path, COLOURS, []))
    assert {tag for tag, _ in page.tags}.isdisjoint({"section", "a"})


def test_case_of_a_dialogue_shows_what_was_asked_before(tmp_path: Path) -> None:
    asked = Question("follow_up", "and then?", "red", (("what came first?", "a blue ring"),))
    assert "what came first? a blue ring" in Reading(written(tmp_path, COLOURS, [Reply(asked, "blue", "", scene())])).text


def test_each_kind_of_question_has_its_own_score(tmp_path: Path) -> None:
    replies = [reply("red", "red"), reply("red", "blue"), reply("ring", "ring", "shape")]
    text = Reading(written(tmp_path, COLOURS, replies)).text.split("By kind of question")[1]
    assert re.search(r"colour 2 50\.0% .* shape 1 100\.0%", text)
    assert "By kind" not in written(tmp_path, COLOURS, replies[:2])


def test_film_shows_and_plays_what_the_model_was_given(tmp_path: Path) -> None:
    pictures, sound = played(tmp_path, scene())
    assert len(pictures) == 4  # two a second
    red, green, _ = pictures[1].reshape(-1, 3).astype(int).T
    assert (red - green > 80).mean() > 0.01  # the ring
    assert np.abs(sound[3200:14400]).max() > 5 * np.abs(sound[20000:30000]).max()  # the beep


def test_scene_without_pictures_is_a_dark_film_with_sound(tmp_path: Path) -> None:
    pictures, sound = played(tmp_path, scene(is_seen=False))
    assert len(pictures) == 4
    assert max(picture.max() for picture in pictures) < 10
    assert np.abs(sound).max() > 0.1


def test_scene_without_sound_is_a_silent_film(tmp_path: Path) -> None:
    pictures, sound = played(tmp_path, scene(is_heard=False))
    assert max(picture.max() for picture in pictures) > 100
    assert len(sound) >= 32000
    assert np.abs(sound).max() < 1e-3
    assert "without sound" in Reading(written(tmp_path, COLOURS, [reply("red", "", of=scene(is_heard=False))])).text


def played(folder: Path, of: Scene) -> tuple[list[np.ndarray], np.ndarray]:
    """The pictures and the samples of the only film beside a page."""
    (film,) = Reading(written(folder, COLOURS, [reply("red", "blue", of=of)])).every("video", "src")
    with av.open(str(folder / film)) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    with av.open(str(folder / film)) as container:
        sound = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    return pictures, sound


def test_scene_of_many_cases_is_one_film(tmp_path: Path) -> None:
    page = Reading(written(tmp_path, COLOURS, [reply("red", "blue"), reply("red", "green"), reply("red", "pink", of=scene(2))]))
    films = page.every("video", "src")
    assert len(films) == 3
    assert len(set(films)) == 2
    assert len(left_in(tmp_path / "report_films")) == 2


def test_films_of_an_earlier_page_go_and_a_persons_own_stay(tmp_path: Path) -> None:
    written(tmp_path, COLOURS, [reply("red", "blue")])
    before = set(left_in(tmp_path / "report_films"))
    (tmp_path / "report_films" / "holiday.mp4").write_bytes(b"mine")
    written(tmp_path, COLOURS, [reply("red", "blue", of=scene(2))])
    after = set(left_in(tmp_path / "report_films"))
    assert len(after) == 2
    assert after - before > {"holiday.mp4"}


def test_page_name_with_odd_letters_finds_its_films(tmp_path: Path) -> None:
    path = tmp_path / 'a #1 "b".html'
    report.write(path, [], {COLOURS.name: (COLOURS, [reply("red", "blue")])}, "", 0)
    (film,) = Reading(path.read_text(encoding="utf-8")).every("video", "src")
    assert film.startswith("a%20%231%20%22b%22_films/")
    assert len(left_in(tmp_path / 'a #1 "b"_films')) == 1


def test_confusion_of_answers_is_a_square_whose_text_says_the_essential() -> None:
    taken = confusion.count(
        "accuracy", [("yes", "yes")] * 5 + [("yes", "no")] * 3 + [("what came? no", "who came? no"), ("no", "")]
    )
    drawn = confusion.draw("accuracy", taken)
    (alt,) = Reading(drawn).every("svg", "aria-label")
    assert alt == (
        "Wanted against said: 6 of 10 answers right. Most often wrong: yes taken for no, 3 x; no taken for (no answer), 1 x."
    )
    assert len(Reading(drawn).every("rect", "class")) == 9  # yes, no and no answer


def test_rare_answers_are_counted_as_other() -> None:
    taken = confusion.count("accuracy", [(f"w{n}", f"w{n}") for n in range(15) for _ in range(20 - n)] + [("w0", "w14")])
    names = confusion.frequent(taken)
    cells = confusion.folded(taken, names)
    assert names == [*(f"w{n}" for n in range(confusion.ANSWERS)), confusion.OTHER]
    assert cells["w0", confusion.OTHER] == 1
    assert cells[confusion.OTHER, confusion.OTHER] == 9 + 8 + 7 + 6
    assert cells.total() == taken.total()
    assert "of the 30 others taken for others 30 are right" in Reading(confusion.draw("accuracy", taken)).text


def test_words_are_aligned_before_they_are_compared() -> None:
    texts = [("open the door now", "open a door"), ("go back . stop", "do go back stop"), ("", "hello")]
    taken = confusion.count("WER", texts)
    wrong = confusion.errors("WER", taken)
    assert wrong == {("the", "a"): 1, ("now", ""): 1, ("", "do"): 1, ("", "hello"): 1}
    (alt,) = Reading(confusion.draw("WER", taken)).every("svg", "aria-label")
    assert "4 errors" in alt
    assert "the taken for a, 1 x" in alt
    assert "now missing, 1 x" in alt


def test_events_are_missed_invented_or_confused() -> None:
    texts = [("bell, dog, siren", "siren, bell, horn"), ("dog", ""), ("bell", "bell, bell"), ("dog, knock", "horn")]
    taken = confusion.count("F1", texts)
    assert confusion.errors("F1", taken) == {
        ("dog", "horn"): 1,  # the only ones left
        ("dog", ""): 2,
        ("", "bell"): 1,
        ("knock", ""): 1,  # for it or for the dog, who knows?
        ("", "horn"): 1,
    }
    assert taken["bell", "bell"] == 2


def test_event_is_confused_with_what_it_shares_a_word_with() -> None:
    taken = confusion.count("F1", [("red ring, bell, blue star", "horn, blue ring, blue star")])
    assert confusion.errors("F1", taken) == {("red ring", "blue ring"): 1, ("bell", "horn"): 1}


def test_captions_are_compared_by_what_they_tell_of_each_thing() -> None:
    taken = confusion.count("attributes", [("small red ring left, large blue star right", "small blue ring left")])
    wrong = confusion.errors("attributes", taken)
    assert wrong["ring red", "ring blue"] == 1
    assert wrong["star blue", ""] == 1
    assert len(wrong) == 5
    assert taken["ring left", "ring left"] == 1


def test_seconds_that_are_off_by_one_are_no_error() -> None:
    taken = confusion.count("within 1 s", [("two", "three"), ("two", "five"), ("ten", "two")])
    assert confusion.errors("within 1 s", taken) == {("two", "five"): 1, ("ten", "two"): 1}
    assert confusion.frequent(taken) == ["two", "three", "five", "ten"]
    drawn = Reading(confusion.draw("within 1 s", taken))
    assert drawn.every("rect", "class").count("wrong") == 2
    assert "1 of 3 answers right" in drawn.every("svg", "aria-label")[0]


def test_every_metric_has_its_confusions() -> None:
    assert confusion.PAIRS.keys() == METRICS.keys()


@pytest.mark.parametrize("path", ["/proc/report.html", "/dev/null/report.html", "/nowhere/report.html", "/tmp"])
def test_folder_that_cannot_be_written_is_told_before_anything_is_made(path: str) -> None:
    with pytest.raises(DeviceError, match=rf"^{path}: (cannot be written \(.+\); choose another folder|is a folder; name the)"):
        report.check(Path(path))
    with pytest.raises(DeviceError, match=path):
        report.write(Path(path), [], {}, "", 0)


def test_file_in_the_place_of_the_folder_of_films_is_told(tmp_path: Path) -> None:
    (tmp_path / "report_films").write_text("mine")
    with pytest.raises(DeviceError, match=r"report_films: cannot be written \(File exists\)"):
        written(tmp_path, COLOURS, [reply("red", "blue")])
    assert left_in(tmp_path) == ["report_films"]


@contextmanager
def room_for(most_bytes: int) -> Iterator[None]:
    """A disk on which no file can be larger."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.getsignal(signal.SIGXFSZ)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then a write beyond the limit fails, as on a full disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize(("said", "most_bytes"), [("blue", 1000), ("blue" * 100_000, 100_000)])
def test_full_disk_is_told_and_nothing_half_written_is_left(tmp_path: Path, said: str, most_bytes: int) -> None:
    """It is full at the first film, or at the page after it."""
    with room_for(most_bytes), pytest.raises(DeviceError, match="cannot be written"):
        written(tmp_path, COLOURS, [reply("red", said)])
    assert left_in(tmp_path) == []


def test_earlier_page_and_its_films_outlive_a_full_disk(tmp_path: Path) -> None:
    earlier = written(tmp_path, COLOURS, [reply("red", "blue")])
    before = left_in(tmp_path)
    with room_for(100_000), pytest.raises(DeviceError, match="cannot be written"):
        written(tmp_path, COLOURS, [reply("red", "blue"), reply("red", "x" * 400_000, of=scene(2))])
    assert left_in(tmp_path) == before
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == earlier


@pytest.mark.device
@pytest.mark.slow
def test_page_can_be_read_by_everybody_and_plays_its_films(tmp_path: Path) -> None:
    chromium = shutil.which("chromium")
    require(chromium, "chromium is not installed (apt-get install chromium)")
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    path, long = tmp_path / "report.html", "an answer that is rather long" * 3
    replies: dict[Task, Sequence[Reply]] = {
        COLOURS: [
            reply("red", "red"),
            reply("yes", "no"),
            reply("red", long),
            *(reply(f"{n}", "red", "shape") for n in range(9)),
        ],
        SPEECH: [reply("go on", "go", "said")],
        EVENTS: [reply("bell, dog", "bell, a" * 30, "story")],
    }
    by_task = {task.name: (task, given) for task, given in replies.items()}
    report.write(path, [row(task, task is SPEECH) for task in replies], by_task, f"favor-stream eval {'x' * 90}", 7)
    with sync_api.sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 360, "height": 800})
        asked_for: list[str] = []
        page.on("request", lambda request: asked_for.append(request.url))
        page.goto(path.as_uri())
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            assert axe.Axe().run(page).response["violations"] == []
        assert asked_for == [path.as_uri()]
        assert (
            page.evaluate("document.querySelector('video').play().then(() => document.querySelector('video').videoWidth)") == 160
        )
        browser.close()

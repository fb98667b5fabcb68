"""The training program: its parts agree with the agent, and the whole recipe runs, is resumed and can be loaded."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import talkative_model
from tokenizers import Tokenizer
from torch import nn

from favor_stream.aveb import kinds, questions, truth, world
from favor_stream.aveb.lexicon import COLOURS, SHAPES
from favor_stream.aveb.questions import Question
from favor_stream.aveb.script import Utterance, Word
from favor_stream.errors import EngineError
from favor_stream.model import weights
from favor_stream.model.config import PRESETS
from favor_stream.model.favor import Favor
from favor_stream.records import Slice
from favor_stream.session import Session
from favor_stream.training import ahead, bank, fusion, hearing, labels, language, loop, talk, train
from favor_stream.training.ahead import Ahead, beside, placed
from favor_stream.training.curriculum import CURRICULA
from favor_stream.training.muon import Muon, orthogonal
from favor_stream.training.oracle import Oracle, arrivals, words_before
from favor_stream.training.tokens import train_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(questions.corpus(500, 0), 1024)


def run_of(folder: Path) -> loop.Run:
    model, tokenizer = talkative_model()
    return loop.Run(model, Oracle(model.config, tokenizer), tokenizer, folder, np.random.default_rng(0))


def test_labels_say_what_a_slice_holds() -> None:
    tokenizer = train_tokenizer(questions.corpus(2000, 0), 1024)
    seen = (truth.SeenThing("red", "circle", "left", "small", "right"), truth.SeenThing("blue", "star", None))
    row = labels.encode(truth.SliceTruth(seen, "exit", ("bell", "horn"), ("horn",), ("left",)), tokenizer)
    assert row[: labels.SOUND].tolist() == [1, 1, 2, 1, 3, 3, 4, 0, 2, 2, 1]
    assert row[labels.SOUND : labels.SPOKEN].tolist() == [0, 1, 0, 0, 0, 0, 2, 0]
    assert tokenizer.id_to_token(row[labels.SPOKEN]) == "Ġleft"
    assert row[-1] == 0


def test_cells_and_places_say_where_things_are() -> None:
    script = world.draw(5, 16.0, "training", density=3.0, timed=world.guessed)
    places = [labels.places(script, k) for k in range(32)]
    for k, where in enumerate(places):
        colours, shapes, _ = labels.cells(script, k, 8)
        shown = truth.slices(script)[k].things
        assert np.isfinite(where[:, 0]).sum() == len(shown)
        for thing, (x, y) in zip(shown, where, strict=False):
            cell = int(y * 8) * 8 + int(x * 8)
            assert SHAPES[shapes[cell] - 1] == thing.shape
            assert list(COLOURS)[colours[cell] - 1] == thing.colour
    assert any(len(truth.slices(script)[k].things) == 2 for k in range(32))


def test_a_third_word_of_a_slice_is_heard_with_the_next() -> None:
    script = world.draw(5, 16.0, "training", density=9.0, timed=quick)
    said = [t.spoken for t in truth.slices(script)]
    assert max(len(words) for words in said) == truth.SPOKEN_WORDS
    assert [w for words in said for w in words] == [w.text for u in script.utterances for w in u.words]


def quick(text: str, start_s: float, *voice: object) -> Utterance:
    """Said at seven words a second."""
    words = tuple(Word(word, start_s + i / 7, start_s + (i + 1) / 7) for i, word in enumerate(text.split()))
    return Utterance(text, start_s, words[-1].end_s, "", 0, 0, 1.0, words)


def test_every_word_of_the_world_is_one_token() -> None:
    tokenizer = train_tokenizer(questions.corpus(20_000, 0), 1024)
    for kind in kinds.KINDS.values():
        for wording in kind.wordings + kind.tested:
            plain = [word for word in re.findall(r"[^\s?,]+", wording) if "{" not in word]
            assert all(len(tokenizer.encode(f" {word}").ids) == 1 for word in plain), wording


def test_answers_are_taught_on_branches_as_the_agent_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokenizer = talkative_model()
    memory = torch.randn(1, 6, model.config.llm.width)
    asked = (Question("a", "what do you see now?", "red circle"), Question("b", "yes?", "no"))
    branches = talk.branches(talk.pack([asked], tokenizer))
    apart = []
    monkeypatch.setattr(talk, "ASKING", 0.0)
    together, _ = talk.answer_loss(model, talk.read(model, tokenizer, memory, branches), branches)
    for question in asked:
        one = talk.branches(talk.pack([(question,)], tokenizer))
        loss, _ = talk.answer_loss(model, talk.read(model, tokenizer, memory, one), one)
        apart.append((loss, int(one.answering.sum())))
    mean = sum(loss * n for loss, n in apart) / sum(n for _, n in apart)
    torch.testing.assert_close(together, mean)


def test_leaps_in_positions_keep_the_order_and_reach_as_far_as_a_full_memory() -> None:
    rng = np.random.default_rng(0)
    drawn = [talk.spread(200, rng) for _ in range(300)]
    assert all((places.diff() >= 1).all() and places[0] == 0 for places in drawn)
    plain = [bool(places[-1] == 199) for places in drawn]
    assert 0.78 < np.mean(plain) < 0.92
    assert 6_000 < max(places[-1].item() for places in drawn) < 9_000


def test_training_lays_the_memory_out_as_the_session_does() -> None:
    model, _ = talkative_model()
    size = model.config.fusion.slices_per_window
    pictures = torch.randint(0, 256, (1, size + 1, 12, 16, 3), dtype=torch.uint8)
    sound = torch.randn(1, (size + 1) * 8000) * 0.1
    with torch.inference_mode():
        seen = model.vision(pictures.flatten(0, 1))[None]
        heard = model.audio(sound).unflatten(1, (size + 1, -1))
        memory = language.remember(*fusion.perceive(model.fusion, seen, heard), size)
    torch.testing.assert_close(memory, model.perceive(pictures, sound), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("count", "each"), [(1, 1), (4, 1), (18, 1), (5, 2)])
def test_session_reads_and_answers_as_training_does(count: int, each: int) -> None:
    model, tokenizer = talkative_model(pictures=each)
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (count, each, 12, 16, 3), dtype=np.uint8)
    sound = rng.standard_normal((count, 8000)).astype(np.float32) * 0.1
    session = Session(model, tokenizer)
    for k in range(count):
        session.see(Slice(k, pictures[k, -1], sound[k], earlier=tuple(pictures[k, :-1])))
    (chance,) = session.check(["what do you see now?"])
    with torch.inference_mode():
        memory = model.perceive(torch.from_numpy(pictures)[None], torch.from_numpy(sound.reshape(1, -1)))
        branch = talk.branches(talk.pack([(Question("a", "what do you see now?", "yes"),)], tokenizer))
        hidden = talk.read(model, tokenizer, memory, branch)[branch.answering][0]  # where the answer begins
        yes, no = (tokenizer.encode(word).ids[0] for word in (talk.PROMPT.yes, talk.PROMPT.no))
        logits = model.llm.lm_head(hidden)
    assert chance == pytest.approx((logits[yes] - logits[no]).sigmoid().item(), abs=1e-4)
    assert 0.001 < chance < 0.999


def test_oracle_writes_as_many_tokens_as_the_qformer() -> None:
    config = PRESETS["favor-nano"]
    tokenizer = train_tokenizer(questions.corpus(500, 0), config.llm.vocabulary)
    oracle, words = Oracle(config, tokenizer), torch.randn(config.llm.vocabulary, config.llm.width)
    rows = torch.zeros(2, 12, labels.WIDTH, dtype=torch.long)
    slices, windows = oracle.memory(rows, words)
    assert slices.shape == (2, 12, config.fusion.queries_of(1), config.llm.width)
    assert [w.shape for w in windows] == [(2, config.fusion.queries_of(10), config.llm.width)] * 2
    assert oracle.reading(slices.flatten(0, 1), rows.flatten(0, 1))[0].item() > 0


def test_tokens_of_things_without_a_name_are_not_copied() -> None:
    config = PRESETS["favor-nano"]
    tokenizer = train_tokenizer(questions.corpus(500, 0), config.llm.vocabulary)
    oracle, words = Oracle(config, tokenizer), torch.randn(config.llm.vocabulary, config.llm.width)
    rows = torch.zeros(1, 3, labels.WIDTH, dtype=torch.long)
    rows[0, 1, 0], rows[0, 1, 1] = labels.UNNAMED, 2
    slices, (window,) = oracle.memory(rows, words)
    strange, stranger = slices.clone(), slices.clone()
    strange[0, 1, 0] += 1.0  # the token of the thing without a name
    stranger[0, 2, 0] += 1.0
    assert oracle.copy_loss(strange, window, rows, words).item() == pytest.approx(0.0, abs=1e-9)
    assert oracle.copy_loss(stranger, window, rows, words).item() > 0.01
    assert oracle.reading(strange.flatten(0, 1), rows.flatten(0, 1))[0].isfinite()


def test_things_are_new_when_the_window_shows_that_they_were_not_there() -> None:
    rows = torch.zeros(1, 12, labels.WIDTH, dtype=torch.long)
    red_ball, blue_star = torch.tensor([1, 2]), torch.tensor([3, 1])
    rows[0, 1:4, :2] = red_ball
    right = slice(labels.THING_FIELDS, labels.THING_FIELDS + 2)
    rows[0, 3, right] = blue_star
    rows[0, 4, :2], rows[0, 4, right] = blue_star, red_ball  # they changed sides
    rows[0, 10:, :2] = red_ball  # at a window's start nobody knows
    assert arrivals(rows, 10)[0].nonzero().tolist() == [[1, 0], [3, 1]]


def test_words_before_a_word_are_those_of_its_window() -> None:
    spoken = torch.zeros(1, 11, 2, dtype=torch.long)
    spoken[0, 1], spoken[0, 3, 0], spoken[0, 10, 1] = torch.tensor([7, 8]), 9, 4
    before = words_before(spoken, 10)[0]
    assert before[1].tolist() == [[0, 0], [7, 0]]
    assert before[3, 0].tolist() == [8, 7]
    assert before[9, 1].tolist() == [9, 8]
    assert before[10].tolist() == [[0, 0], [0, 0]]


def test_things_and_sounds_of_a_slice_are_told_together() -> None:
    config = PRESETS["favor-nano"]
    tokenizer = train_tokenizer(questions.corpus(500, 0), config.llm.vocabulary)
    oracle, words = Oracle(config, tokenizer), torch.randn(config.llm.vocabulary, config.llm.width)
    silent = torch.zeros(1, 2, labels.WIDTH, dtype=torch.long)
    silent[0, 0, :2] = torch.tensor([1, 2])
    loud = silent.clone()
    loud[0, :, labels.SOUND] = 1
    changed = (oracle.slices(loud, words) != oracle.slices(silent, words)).any(-1)[0]
    assert changed.tolist() == [[True, False, True, False, False], [False, False, True, False, False]]
    empty = torch.zeros_like(loud)
    empty[0, :, labels.SOUND] = 1
    changed = (oracle.slices(loud, words) != oracle.slices(empty, words)).any(-1)[0]
    assert changed.tolist() == [[True, False, True, False, False], [False] * 5]


def test_labels_of_an_odd_thing_say_what_has_a_name() -> None:
    tokenizer = train_tokenizer(questions.corpus(500, 0), 1024)
    seen = (truth.SeenThing("#123456", "star", "left"), truth.SeenThing("blue", "77", None))
    row = labels.encode(truth.SliceTruth(seen, None, (), (), ()), tokenizer)
    assert row[:3].tolist() == [labels.UNNAMED, 4, 2]
    assert row[labels.THING_FIELDS : labels.THING_FIELDS + 3].tolist() == [3, labels.UNNAMED, 0]


@pytest.mark.parametrize(("pictures", "starts"), [(1, {0, 4, 8}), (0, set(range(10)))])
def test_windows_of_films_begin_where_the_stream_s_do(pictures: int, starts: set[int]) -> None:
    rows = np.arange(12, dtype=np.int16)[None, :, None].repeat(bank.SHARD, 0)
    clips = bank.Clips(np.zeros((pictures, 1), np.uint8), np.zeros(0, np.int16), rows, [], [])
    shard = fusion.Encoded(clips, torch.zeros(bank.SHARD, 12, 1, 1), torch.zeros(bank.SHARD, 12, 1, 1))
    rng = np.random.default_rng(0)
    drawn = [fusion.opening([shard], count=2, size=4, length=3, rng=rng)[2] for _ in range(200)]
    assert {int(each[0, 0, 0]) for each in drawn} == starts
    assert all(torch.equal(each[0, :, 0].diff(), torch.ones(2)) for each in drawn)


def test_muon_takes_the_matrices_of_layers_only() -> None:
    model, _ = talkative_model()
    adam, muon = loop.optimisers(model.llm, 1e-3, 1e-2)
    matrices = {id(p) for group in muon.param_groups for p in group["params"]}
    others = {id(p) for group in adam.param_groups for p in group["params"]}
    layers = model.llm.model.layers
    assert matrices == {id(p) for p in layers.parameters() if p.ndim == 2}
    assert matrices | others == {id(p) for p in model.llm.parameters()}
    assert not matrices & others
    assert len(loop.optimisers(model.llm, 1e-3, 0.0)) == 1


def test_a_stage_that_was_killed_goes_on_as_if_nothing_had_happened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "KEEP_EVERY", 2)
    model, tokenizer = talkative_model()
    oracle = Oracle(model.config, tokenizer)

    def learn(folder: Path, seed: int, killed_at: int | None = None) -> torch.Tensor:
        torch.manual_seed(seed)
        rng = np.random.default_rng(1)
        module = nn.ModuleDict({"part": nn.ModuleDict({"layers": nn.ModuleList([nn.Linear(4, 4)])})})
        layer = module.get_submodule("part.layers.0")

        def step(at: int) -> tuple[torch.Tensor, dict[str, float]]:
            if at == killed_at:
                raise KeyboardInterrupt
            return (layer(torch.full((1, 4), 1.0 + at * rng.random())) - 1).square().mean(), {}

        folder.mkdir(exist_ok=True)
        loop.Run(model, oracle, tokenizer, folder, rng).train(loop.Stage("stage", 6), module, step, 0.1, matrix_rate=0.05)
        return module.get_parameter("part.layers.0.weight").detach()

    whole = learn(tmp_path / "whole", seed=1)
    with pytest.raises(KeyboardInterrupt):
        learn(tmp_path / "killed", seed=1, killed_at=5)
    torch.testing.assert_close(learn(tmp_path / "killed", seed=2), whole)
    assert [path.name for path in (tmp_path / "killed").glob("stage.*")] == ["stage.pt"]


def test_a_stage_draws_the_same_whether_others_were_learned_before_it_or_loaded(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    first = run.of("join")
    run.of("distil").rng.random(9)
    again, another = run.of("join"), run.of("distil")
    assert first.rng.random() == again.rng.random() != another.rng.random()
    assert first.rng_of(3).random() == again.rng_of(3).random() != again.rng_of(4).random()
    assert again.rng_of(3).random() != another.rng_of(3).random()


def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if there were one."""
    monkeypatch.setattr(ahead, "processor", lambda: torch.device("cuda"))


DRAWN_AHEAD = """
import os
import numpy as np
import torch
from favor_stream.training import ahead

def draw(at):
    return np.random.default_rng(at).random(3), os.getpid()

torch.manual_seed(0)
expected = torch.rand(1)
torch.manual_seed(0)
ahead.processor = lambda: torch.device("cuda")  # as if there were one
batches = ahead.Ahead(draw)
for at in (0, 1, 2, 7, 8):  # who was killed goes on from where it was kept
    drawn, by = batches[at]
    assert (drawn.numpy() == draw(at)[0]).all() and by != os.getpid()
assert torch.equal(torch.rand(1), expected)
"""


def test_batches_that_others_draw_are_those_that_are_asked_for() -> None:
    """In a process of its own: this one has threads of many libraries, and is not to be forked."""
    subprocess.run([sys.executable, "-c", DRAWN_AHEAD], timeout=120, check=True)
    assert Ahead(lambda at: (at, os.getpid()))[9] == (9, os.getpid())  # nobody else draws without a GPU


def test_a_stage_beside_a_gpu_s_others_is_done_when_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "done"
    with beside(path.write_text, "here"):
        assert not path.exists()
    assert not path.exists()  # without a GPU it is left to whoever needs it
    gpu(monkeypatch)
    with beside(path.write_text, "here"):
        pass
    assert path.read_text() == "here"
    with pytest.raises(EngineError, match="read_text failed"), beside((tmp_path / "missing").read_text):
        pass


def test_a_stage_of_no_steps_teaches_nothing(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    run.train(loop.Stage("stage", 0), nn.Linear(1, 1), lambda at: pytest.fail(f"step {at}"), 0.1)
    assert not list(tmp_path.iterdir())


def test_what_a_step_is_given_is_made_where_the_run_computes() -> None:
    """On the device that holds nothing, in place of a GPU."""
    tokenizer, rng = talkative_model()[1], np.random.default_rng(0)
    script = world.draw(5, 8.0, "training", timed=world.guessed)
    rows = np.zeros((1, 16, labels.WIDTH), np.int16)
    clips = bank.Clips(np.zeros((0,), np.uint8), np.zeros((1, 16 * 8000), np.int16), rows, [script], ["film"])
    shard = fusion.Encoded(clips, torch.zeros(1, 16, 1, 1), torch.zeros(1, 16, 1, 1))
    with torch.device("meta"):
        heard = placed(hearing.draw([clips], 2, rng))
        asked = talk.branches(talk.pack([(Question("a", "what is there?", "no"),)], tokenizer))
        made = [*heard, asked.ids, asked.answering, *shard.part(np.array([0]), slice(4))]
        made += [hearing.masked(torch.zeros(2, 80, 400), rng), talk.spread(9, rng), talk.visible(asked.number, asked.ids[0])]
    assert {each.device.type for each in made} == {"meta"}


def test_bands_and_moments_are_masked_and_the_rest_is_left() -> None:
    mel = torch.randn(3, 80, 400)
    out = hearing.masked(mel, np.random.default_rng(0))
    hidden = out != mel
    assert 0.02 < hidden.float().mean() < 0.6
    assert (hidden.all(1).any(1) | hidden.all(2).any(1)).all()  # in every clip a whole band or a whole moment
    torch.testing.assert_close(out[hidden], mel.mean((1, 2), keepdim=True).expand_as(mel)[hidden])


def test_memories_of_a_step_are_equally_long_its_own_and_the_same_however_one_came_there(tmp_path: Path) -> None:
    def lessons() -> language.Lessons:
        return language.Lessons(run_of(tmp_path), [(5, bank.Lesson(1.0, (8,))), (5, bank.Lesson(1.0, (16, 24)))])

    once, again = lessons(), lessons()
    (rows, asked), (same, asked_too), (others, _) = once.draw(7), again.draw(7), once.draw(8)
    assert np.array_equal(rows, same)
    assert asked.kinds == asked_too.kinds
    assert all(np.array_equal(a, b) for a, b in zip(asked.branches, asked_too.branches, strict=True))
    assert np.array_equal(asked.evicted, asked_too.evicted)
    assert rows.shape[0] == language.BATCH
    assert not np.array_equal(rows, others)
    assert len({row.tobytes() for row in rows}) > 0.9 * len(rows)  # some rooms are empty
    assert all(once.draw(at)[0].shape[1] <= 8 for at in range(5))


def test_samples_of_a_lesson_are_of_its_settings(tokenizer: Tokenizer) -> None:
    lesson = bank.Lesson(1.0, (16, 24), settings=(("speech", 1.0), ("film", 0.0)))
    spoken = bank.symbolic(tokenizer, lesson, 16, 10, np.random.default_rng(0))
    assert {question.kind for sample in spoken for question in sample.asked} == {"said", "said_last"}
    assert not any(sample.rows[:, : labels.SOUND].any() for sample in spoken)  # nothing is seen


def test_an_empty_room_is_asked_about_where_weights_are_taught_further(tokenizer: Tokenizer) -> None:
    lesson, rng = CURRICULA["nano"].further[-1], np.random.default_rng(0)
    taught = [sample for _ in range(60) for sample in bank.symbolic(tokenizer, lesson, 4, 10, rng)]
    assert np.mean([not sample.rows[-4:].any() for sample in taught]) > 0.15
    assert max(len(sample.rows) for sample in taught) > 40


def test_long_memories_are_fewer_in_a_step(tokenizer: Tokenizer) -> None:
    rng = np.random.default_rng(0)
    each = [bank.symbolic(tokenizer, bank.Lesson(1.0, (4 * bank.USUAL,)), 32, 10, rng) for _ in range(4)]
    assert all(len(memories) == min(32, 32 * bank.USUAL // len(memories[0].rows)) for memories in each)
    assert min(map(len, each)) < 32


@pytest.mark.parametrize("shape", [(6, 6), (4, 9), (9, 4)])
def test_orthogonal_brings_every_singular_value_near_one(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * torch.logspace(0, -1, shape[1])
    values = torch.linalg.svdvals(orthogonal(matrix[None]))
    assert values.min() > 0.5
    assert values.max() < 1.3


def test_muon_steps_as_torch_s_does_in_bfloat16() -> None:
    ours, theirs = (torch.nn.Parameter(torch.randn(8, 4, generator=torch.Generator().manual_seed(1))) for _ in range(2))
    steps = (Muon([ours], 0.02, 0.01, torch.float32), torch.optim.Muon([theirs], 0.02, 0.01))
    for seed in range(5):
        for matrix, optimiser in zip((ours, theirs), steps, strict=True):
            matrix.grad = torch.randn(8, 4, generator=torch.Generator().manual_seed(seed))
            optimiser.step()
    assert (ours - theirs).norm() < 0.02 * theirs.norm()  # what bfloat16 costs


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_what_is_learned_in_bfloat16_is_nearly_what_is_in_float32(device: str) -> None:
    """cuDNN's kernels for attention under a mask gave other gradients there: see `attend_at_any_length`."""
    train.prepare()
    torch.manual_seed(0)
    model = Favor(PRESETS["favor-nano"]).to(device)
    tokenizer = train_tokenizer(questions.corpus(500, 0), model.config.llm.vocabulary)
    questioned = (Question("a", "what do you see now?", "red circle"), Question("b", "did a bell ring?", "no"))
    memory = 0.1 * torch.randn(4, 301, model.config.llm.width)
    with torch.device(device):
        branches = talk.branches(talk.pack([questioned] * 4, tokenizer))
        exact, rounded = (learned(model, tokenizer, memory.to(device), branches, is_rounded) for is_rounded in (False, True))
    for matrix, rough in zip(exact, rounded, strict=True):
        assert (rough - matrix).norm() < 0.05 * matrix.norm()


def learned(
    model: Favor, tokenizer: Tokenizer, memory: torch.Tensor, asked: talk.Branches, is_rounded: bool
) -> list[torch.Tensor]:
    """The gradients of what attends."""
    matrices = [matrix for layer in model.llm.model.layers for matrix in layer.self_attn.parameters()]
    with torch.autocast(memory.device.type, torch.bfloat16, enabled=is_rounded):
        loss, _ = talk.answer_loss(model, talk.read(model, tokenizer, memory, asked), asked)
    return list(torch.autograd.grad(loss, matrices))


@pytest.mark.gpu
def test_whole_recipe_runs_on_the_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("espeakng_loader")
    used = set[torch.device]()
    optimisers = loop.optimisers

    def watched(module: torch.nn.Module, *rates: float) -> list[torch.optim.Optimizer]:
        used.update(each.device for each in module.parameters())
        return optimisers(module, *rates)

    monkeypatch.setattr(loop, "optimisers", watched)
    few = {"clips": 16, "speech": 24, "sight": 2, "hearing": 2, "language": 10, "distil": 2, "join": 2}
    assert train.run("smoke", tmp_path, other=few) == 0
    assert {device.type for device in used} == {"cuda"}
    assert weights.load(tmp_path)[0].device.type == "cpu"

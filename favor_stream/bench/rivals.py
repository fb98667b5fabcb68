"""The same film and question as they would be met without this project: same weights, same machine, in turns."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import median

import av
import numpy as np
import torch

from favor_stream.bench.live import film
from favor_stream.bench.memory import QUESTION, SLICES_PER_MINUTE, SMALL, timed_first, warmed
from favor_stream.bench.rows import Row, note
from favor_stream.bench.subject import Subject
from favor_stream.capture import open_source
from favor_stream.config import Config
from favor_stream.model.favor import Favor
from favor_stream.records import RATE, SLICE_SAMPLES, Picture
from favor_stream.ring import Ring
from favor_stream.sample import SIZE, sample
from favor_stream.session import Session


def rivals(subject: Subject, seconds: int, minutes: int) -> list[Row]:
    return [*plain_loop(subject, seconds), *sent_again(subject, minutes)]


def plain_loop(subject: Subject, seconds: int) -> list[Row]:
    """Seconds of computing for a second of film: a loop over PyAV that has torch look at the window so far, against ours."""
    note(f"bench: {seconds} s of film in a plain loop")
    session = warmed(subject.session(subject.config.context_s))
    plain, ours = [], []
    with tempfile.TemporaryDirectory() as folder:
        path = film(Path(folder), seconds, 25, SIZE)
        for _ in range(3):
            plain.append(timed_loop(path, subject.model) / seconds)
            ours.append(timed_chain(path, session, subject.config) / seconds)
    ratio = median(plain) / median(ours)
    return [
        Row("real-time factor of a plain loop of PyAV and torch", median(plain), "", "", None),
        Row("plain loop / the whole chain", ratio, "x", "", None),
    ]


def timed_chain(path: Path, session: Session, config: Config) -> float:
    session.reset()
    ring = Ring(pace="lossless")
    started_s = time.perf_counter()
    with open_source(str(path), ring, pictures_per_s=config.pictures_per_s):
        for piece in ring:
            session.see(piece)
    return time.perf_counter() - started_s


def timed_loop(path: Path, model: Favor) -> float:
    """Decodes every picture, and each half second encodes the open window from its beginning: no state is kept."""
    started_s = time.perf_counter()
    resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
    picture: Picture | None = None
    sound, shown = np.zeros(0, np.float32), list[Picture]()
    with av.open(str(path)) as opened:
        for frame in opened.decode(video=0, audio=0):
            if isinstance(frame, av.VideoFrame):
                picture = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
                continue
            assert isinstance(frame, av.AudioFrame)
            sound = np.concatenate([sound, *(each.to_ndarray()[0] for each in resampler.resample(frame))])
            if picture is not None and len(sound) >= (len(shown) + 1) * SLICE_SAMPLES:
                shown.append(picture)
                pictures = torch.from_numpy(np.stack(shown))[None]
                model.perceive(pictures, torch.from_numpy(sound[: len(shown) * SLICE_SAMPLES])[None])
            if len(shown) == model.config.fusion.slices_per_window:
                sound, shown = sound[len(shown) * SLICE_SAMPLES :], []
    return time.perf_counter() - started_s


def sent_again(subject: Subject, minutes: int) -> list[Row]:
    """Seconds to a first token: transformers' `generate`, which is sent the whole context with each question, against ours."""
    note(f"bench: {minutes} minutes of context sent again")
    model, tokenizer = subject.model, subject.tokenizer
    session = warmed(subject.session(minutes * 60.0))
    for piece in sample(minutes * SLICES_PER_MINUTE + 5, size=SMALL):
        session.see(piece)
    context = torch.randn(1, session.tokens, model.config.llm.width, device=model.device, dtype=model.projection.dtype)
    asked = torch.tensor([tokenizer.encode(QUESTION).ids], device=model.device)
    kept, again = [], []
    for _ in range(3):
        kept.append(timed_first(session))
        started_s = time.perf_counter()
        with torch.inference_mode():
            words = model.llm.get_input_embeddings()(asked)
            model.llm.generate(inputs_embeds=torch.cat([context, words], 1), max_new_tokens=1, do_sample=False, pad_token_id=2)  # type: ignore[misc]
        again.append(time.perf_counter() - started_s)
    ratio = median(again) / median(kept)
    name = f"first token at {minutes} min of context ({session.tokens} tokens)"
    return [
        Row(f"{name}, transformers generate", median(again) * 1000, "ms", "", None),
        Row(f"{name}, transformers generate / ours", ratio, "x", ">= 50", ratio >= 50),
    ]

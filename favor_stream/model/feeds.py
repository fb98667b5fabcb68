"""What each part of the model is given along a stream: for comparing engines, timing them, and calibrating what is rounded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from favor_stream.model.steps import NEW, State, Step
from favor_stream.records import Slice


@torch.inference_mode()
def feeds(parts: dict[str, Step], part: str, stream: Iterable[Slice], batch: int = 1) -> Iterator[State]:
    """Everything that goes into `part`, state included, slice after slice; every stream of a batch is given the same.

    Made by the parts before it, in torch, where they are. The stream's slices have pictures.
    """
    device = next(parts["audio"].parameters()).device
    audio, window = ({k: v.to(device) for k, v in parts[name].start(batch).items()} for name in ("audio", "window"))
    for piece in stream:
        assert piece.picture is not None, "a picture in every slice"
        pictures, sound = (
            torch.from_numpy(each)[None].to(device).expand(batch, *each.shape).contiguous()
            for each in (piece.picture, piece.sound)
        )
        if part == "vision":
            yield {"pictures": pictures}
            continue
        if part == "audio":
            yield {"sound": sound, **audio}
        heard, audio = stepped(parts["audio"], {"sound": sound, **audio})
        if part == "audio":
            continue
        seen, _ = stepped(parts["vision"], {"pictures": pictures})
        if part == "window":
            yield {**seen, **heard, **window}
        _, window = stepped(parts["window"], {**seen, **heard, **window})
        if part == "read_out":
            yield {name: window[name] for name in parts["read_out"].inputs}


def stepped(step: Step, given: State) -> tuple[dict[str, Tensor], State]:
    """What a step gives, and its state after it."""
    named = dict(zip(step.outputs, step(*(given[name] for name in step.inputs)), strict=True))
    state = {name.removeprefix(NEW): named.pop(name) for name in list(named) if name.startswith(NEW)}
    return named, state

"""Every graph of a model. A new one is named here."""

from __future__ import annotations

from exporters import audio, read_out, vision, window
from exporters.graph import Graph, Shapes
from favor_stream.model.favor import Favor


def graphs(model: Favor, batch: int | None = 1, size: tuple[int, int] | None = None) -> list[Graph]:
    """In the order in which a slice meets them; for one stream one more, for pictures of `size` alone. Batch None: any."""
    fusion = model.config.fusion
    parts = [vision, audio, window] + ([read_out] if fusion.queries_of(fusion.slices_per_window) else [])
    made = [part.graph(model, Shapes(batch)) for part in parts]
    return [made[0], *([vision.graph(model, Shapes(batch, size))] if size and batch == 1 else []), *made[1:]]

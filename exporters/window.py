"""The causal Q-Former's step: a slice enters the open window, whose keys and values are the state."""

import torch

from exporters.graph import Graph, Shapes
from favor_stream.graphs import TOLERANCE
from favor_stream.model.favor import Favor
from favor_stream.model.steps import WindowStep


def graph(model: Favor, shapes: Shapes) -> Graph:
    c, batch, step = model.config, shapes.examples, WindowStep(model.fusion)
    seen, heard = (torch.zeros(batch, each.tokens, each.width) for each in (c.vision, c.audio))
    example = {"seen": seen, "heard": heard, **step.start(batch)}
    return Graph(shapes.named("window"), step, example, shapes.free(example), TOLERANCE)

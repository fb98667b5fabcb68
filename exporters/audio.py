"""Sound to tokens, log-mel included; the state is what the encoder remembers of the sound before."""

import torch

from exporters.graph import Graph, Shapes
from favor_stream.graphs import TOLERANCE
from favor_stream.model.favor import Favor
from favor_stream.model.steps import steps
from favor_stream.records import SLICE_SAMPLES


def graph(model: Favor, shapes: Shapes) -> Graph:
    step = steps(model)["audio"]
    example = {"sound": torch.zeros(shapes.examples, SLICE_SAMPLES), **step.start(shapes.examples)}
    return Graph(shapes.named("audio"), step, example, shapes.free(example), TOLERANCE)

"""The anytime read-out: what the open window says so far, from the keys and values that the window's step keeps."""

from exporters.graph import Graph, Shapes
from favor_stream.graphs import TOLERANCE
from favor_stream.model.favor import Favor
from favor_stream.model.steps import ReadOutStep, WindowStep


def graph(model: Favor, shapes: Shapes) -> Graph:
    state = WindowStep(model.fusion).start(shapes.examples)
    example = {name: state[name] for name in ReadOutStep.inputs}
    example["slices"] += 1
    return Graph(shapes.named("read_out"), ReadOutStep(model.fusion), example, shapes.free(example), TOLERANCE)

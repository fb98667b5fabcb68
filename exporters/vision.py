"""Pictures of the camera's size to tokens, resizing included."""

import torch

from exporters.graph import Graph, Shapes
from favor_stream.graphs import TOLERANCE
from favor_stream.model.favor import Favor
from favor_stream.model.steps import VisionStep
from favor_stream.sample import SIZE


def graph(model: Favor, shapes: Shapes) -> Graph:
    width, height = shapes.size or SIZE
    example = {"pictures": torch.zeros(shapes.examples, height, width, 3, dtype=torch.uint8)}
    free = shapes.free(example)
    if shapes.size is None:
        free["pictures"] |= {1: "height", 2: "width"}
    return Graph(shapes.named("vision"), VisionStep(model), example, free, TOLERANCE)

"""Whether an exported graph computes what torch does, over a stream of steps."""

from __future__ import annotations

from engines.engine import Engine
from engines.parity import Parity, parity
from engines.stream import Stream
from exporters.graph import Graph
from favor_stream.graphs import torch_engine
from favor_stream.model.feeds import feeds
from favor_stream.model.steps import Step
from favor_stream.sample import sample


def compare(graph: Graph, parts: dict[str, Step], engine: Engine, steps: int) -> Parity:
    """The engine beside the graph's own module in torch, each with a state of its own from the first step to the last."""
    start = graph.step.start(graph.batch)
    stream = sample(steps, size=graph.size)
    given = feeds(parts, graph.part, stream, graph.batch)
    stateless = ({name: tensor for name, tensor in each.items() if name not in start} for each in given)
    return parity(Stream(torch_engine(graph.step), start), Stream(engine, start), stateless)

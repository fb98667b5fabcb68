"""A stream through an engine: an output `new_x` comes back as the input `x` of the next step."""

from __future__ import annotations

from torch import Tensor

from engines.engine import Engine, EngineError, Tensors

NEW = "new_"


class Stream:
    """One stream's state beside an engine that many streams may share."""

    def __init__(self, engine: Engine, start: Tensors) -> None:
        """`start` is the state before the first step, an input for each `new_` output; EngineError where one is missing."""
        self._engine, self._start = engine, dict(start)
        self._returning = {name for name in engine.outputs if name.startswith(NEW)}
        if {name.removeprefix(NEW) for name in self._returning} != self._start.keys():
            raise EngineError(
                f"the state begins with {', '.join(self._start) or 'nothing'}; expected an input for each of "
                f"{', '.join(sorted(self._returning)) or 'no outputs'}: is the graph of another model?"
            )
        self.reset()

    def reset(self) -> None:
        """The state is again what it was before the first step."""
        self.state: dict[str, Tensor] = dict(self._start)

    def step(self, given: Tensors) -> dict[str, Tensor]:
        """What the step gives, without the state."""
        outputs = self._engine.run({**given, **self.state})
        self.state = {name.removeprefix(NEW): outputs.pop(name) for name in self._returning}
        return outputs

"""One model, and the one thread that may touch it. Several streams share it: their jobs take turns in the order of their coming.

It knows how sessions are made; it knows no devices, and not who asks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self, TypeVar

from tokenizers import Tokenizer

from favor_stream.config import SHIPPED, Config
from favor_stream.model import weights
from favor_stream.session import Session, load_sessions

Result = TypeVar("Result")


class Mind:
    """Loaded from entering to leaving. Raises WeightsError, EngineError or DeviceError when it is entered."""

    def __init__(self, config: Config) -> None:
        self._config, self.busy_s = config, 0.0  # seconds that were computed
        self._thread = ThreadPoolExecutor(1, "model")

    async def __aenter__(self) -> Self:
        try:
            self._new_session = await self.compute(lambda: load_sessions(self._config))
            folder = self._config.weights or SHIPPED
            manifest = weights.read_manifest(folder)
            self.name, self.weights = manifest["config"]["name"], manifest["sha256"]
            self._tokenizer = await self.compute(lambda: Tokenizer.from_file(str(folder / weights.TOKENIZER)))
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def compute(self, work: Callable[[], Result]) -> Result:
        """Do this on the model's thread. A short job: a slice, a window, a token; what takes longer is many of them."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._timed, work)

    def _timed(self, work: Callable[[], Result]) -> Result:
        begun_s = time.perf_counter()
        try:
            return work()
        finally:
            self.busy_s += time.perf_counter() - begun_s

    def session(self, context_s: float | None = None) -> Session:
        """A new stream's memory; on the model's thread."""
        return self._new_session() if context_s is None else self._new_session(context_s)

    def tokens(self, text: str) -> int:
        """How many these words are; on any thread."""
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    async def close(self) -> None:
        await asyncio.to_thread(self._thread.shutdown)

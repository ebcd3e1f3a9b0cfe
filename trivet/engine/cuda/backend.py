"""The GPU lane: recovers when the GPU runs out of memory, and moves the weights off the GPU and back.

When a batch does not fit, the lane frees the cache (at a limited rate), halves the token budget and runs the batch in
two halves. A single sequence that does not fit raises `GpuUnavailable`, and the CPU replica of its model computes it.
The sizes to try next are decided in `trivet.engine.cuda.token_budget`, which is pure.
"""

import logging
import threading
from collections.abc import Callable
from functools import partial

import numpy as np

from trivet.engine.backend import BackendOutOfMemory, OneStep
from trivet.engine.batch.token_batch import TokenBatch
from trivet.engine.cuda.accelerator import Accelerator, DeviceMemory
from trivet.engine.cuda.token_budget import BudgetConfig, after_oom, after_success, full_budget
from trivet.errors import GpuUnavailable
from trivet.messages import Floats

logger = logging.getLogger(__name__)

FREE_CACHE_EVERY_S = 1.0
"""Shortest time between two calls that free the allocator's cache: each costs the next forwards up to seconds."""


class GpuLaneBackend:
    """A `trivet.engine.backend.Backend` over an accelerator."""

    in_flight = 1

    def __init__(self, accelerator: Accelerator, *, model: str, token_budget: int, clock: Callable[[], float]) -> None:
        """Begin offloaded; `reload` moves the weights to the GPU.

        Args:
            accelerator: the device.
            model: its name, for messages.
            token_budget: largest cost of a forward, in tokens.
            clock: monotonic seconds.
        """
        self._accelerator = accelerator
        self.layout = accelerator.layout
        self._model = model
        self._clock = clock
        self._budget_config = BudgetConfig(max_tokens=token_budget, min_tokens=min(256, token_budget))
        self._budget = full_budget(self._budget_config)
        self._freed_s = float("-inf")
        self._lock = threading.Lock()  # a forward and an offload never meet
        self.offloaded = True
        self.oom_splits = 0
        """How many batches have been run in halves since the start."""

    @property
    def device(self) -> str:
        """Human-readable name of the accelerator."""
        return self._accelerator.device

    @property
    def fault(self) -> str | None:
        """Why this process must be replaced; None if it can answer."""
        return self._accelerator.fault

    @property
    def token_budget(self) -> int:
        """Largest cost of the next batch, in tokens."""
        return self._budget.tokens

    def memory(self) -> DeviceMemory:
        """Report the allocator's memory."""
        return self._accelerator.memory()

    def launch(self, batch: TokenBatch) -> OneStep:
        """Prepare a forward. Its one step raises GpuUnavailable while offloaded, or where one sequence does not fit."""
        return OneStep(partial(self._forward, batch))

    def _forward(self, batch: TokenBatch) -> Floats:
        with self._lock:
            if self.offloaded:
                raise GpuUnavailable(f"{self._model}: its weights are not on the GPU")
            return self._run(batch)

    def _run(self, batch: TokenBatch) -> Floats:
        try:
            outputs = self._accelerator.run(batch)
        except BackendOutOfMemory as error:
            self._after_oom(batch, error)
        else:
            self._budget = after_success(self._budget_config, self._budget, self.layout.cost(batch.lengths))
            return outputs
        # Outside of the except block: a live traceback would keep the failed forward's tensors alive.
        first, second = batch.halves()
        joined: Floats = np.concatenate([self._run(first), self._run(second)])
        return joined

    def _after_oom(self, batch: TokenBatch, error: BackendOutOfMemory) -> None:
        tokens = self.layout.cost(batch.lengths)
        self._budget = after_oom(self._budget_config, self._budget, tokens)
        if self._clock() - self._freed_s >= FREE_CACHE_EVERY_S:
            self._accelerator.free_cache()
            self._freed_s = self._clock()
        if len(batch.lengths) == 1:
            raise GpuUnavailable(f"{self._model}: {tokens} tokens do not fit the GPU: {error.message}")
        self.oom_splits += 1
        logger.warning(
            "%s: out of GPU memory with %d sequences of up to %d tokens: running two halves, token budget now %d",
            self._model,
            len(batch.lengths),
            batch.max_len,
            self._budget.tokens,
        )

    def offload(self) -> None:
        """Wait for the running forward, then move the weights to host memory."""
        with self._lock:
            if not self.offloaded:
                self._accelerator.offload()
                self.offloaded = True
                logger.warning("%s: its weights have left the GPU", self._model)

    def reload(self) -> bool:
        """Move the weights to the GPU. Returns whether they fit."""
        with self._lock:
            if self.offloaded:
                try:
                    self._accelerator.reload()
                except BackendOutOfMemory as error:
                    logger.warning("%s: its weights do not fit back yet: %s", self._model, error.message)
                    return False
                self.offloaded = False
                logger.info("%s: its weights are back on the GPU", self._model)
        return True

    def close(self) -> None:
        """Release the GPU."""
        self._accelerator.close()

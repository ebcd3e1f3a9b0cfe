"""The GPU lane: recovers when the GPU runs out of memory, and moves the weights off the GPU and back.

When a batch does not fit, the lane frees the cache (at a limited rate), halves the token budget and runs the batch in
two halves. A single sequence that does not fit raises `GpuUnavailable`, and the CPU replica of its model computes it.
The sizes to try next are decided in `trivet.engine.cuda.token_budget`, which is pure.
"""

import logging
import threading
from collections.abc import Callable

import numpy as np

from trivet.engine.backend import BackendOutOfMemory, Joined, Pending
from trivet.engine.batch.token_batch import TokenBatch
from trivet.engine.cuda.accelerator import Accelerator, DeviceMemory
from trivet.engine.cuda.calibration import tokens_within
from trivet.engine.cuda.token_budget import TYPICAL_TOKENS, BudgetConfig, after_oom, after_success, full_budget
from trivet.errors import GpuUnavailable, ModelError
from trivet.messages import GpuFacts

logger = logging.getLogger(__name__)

LEAST_BUDGET_TOKENS = 512
"""The budget is not measured below this: smaller forwards take hardly less time."""
FREE_CACHE_EVERY_S = 1.0
"""Shortest time between two calls that free the allocator's cache: each costs the next forwards up to seconds."""


class GpuLaneBackend:
    """A `trivet.engine.backend.Backend` over an accelerator."""

    falls_back = True

    def __init__(
        self,
        accelerator: Accelerator,
        *,
        model: str,
        token_budget: int,
        forward_s: float | None,
        clock: Callable[[], float],
        gpu: GpuFacts | None = None,
    ) -> None:
        """Begin offloaded; `reload` puts the weights on the GPU.

        Args:
            accelerator: the device.
            model: its name, for messages.
            token_budget: largest cost of a forward, in tokens. A longer sequence is a forward by itself.
            forward_s: longest time of a forward. Once the weights are on the GPU, the budget becomes what it computes
                in this time; None: it is not measured.
            clock: monotonic seconds.
            gpu: how a real GPU computes the model.
        """
        self._accelerator = accelerator
        self.gpu = gpu
        self.layout = accelerator.layout
        self.in_flight = accelerator.in_flight
        self._model = model
        self._forward_s = forward_s
        self._clock = clock
        self._set_budget(token_budget)
        self._freed_s = float("-inf")
        self._launched_s = clock()
        self._lock = threading.Lock()  # a launch and an offload never meet
        self.offloaded = True
        self.unusable: str | None = None
        """Why this process will not compute on the GPU again, although the GPU can be used; None while it may."""
        self.oom_splits = 0
        """How many batches have been run in halves since the start."""

    def _set_budget(self, most_tokens: int) -> None:
        self._budget_config = BudgetConfig(max_tokens=most_tokens, min_tokens=min(256, most_tokens))
        self._budget = full_budget(self._budget_config)

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

    def measure_context(self) -> int | None:
        """Measure what the process holds of the GPU outside its allocator, and keep to its share; None: unknown.

        It asks the driver, which may take seconds to answer, and delays no forward.
        """
        return self._accelerator.measure_context()

    def launch(self, batch: TokenBatch) -> Pending:
        """Begin a forward, in halves where it does not fit.

        Raises:
            GpuUnavailable: the weights are offloaded, or one sequence of the batch does not fit by itself.
        """
        with self._lock:
            if self.offloaded:
                raise GpuUnavailable(f"{self._model}: {self.unusable or 'its weights are not on the GPU'}")
            try:
                return self._launch(batch)
            finally:
                self._launched_s = self._clock()

    def _launch(self, batch: TokenBatch) -> Pending:
        try:
            pending = self._accelerator.launch(batch)
        except BackendOutOfMemory as error:
            reason = error.message
        else:
            self._budget = after_success(self._budget_config, self._budget, self.layout.cost(batch.lengths))
            return pending
        self._after_oom(batch, reason)
        first, second = batch.halves()
        # The device computes the halves one after the other, so that the second one takes the memory of the first.
        return Joined(self._launch(first), self._launch(second))

    def _after_oom(self, batch: TokenBatch, reason: str) -> None:
        tokens = self.layout.cost(batch.lengths)
        self._budget = after_oom(self._budget_config, self._budget, tokens)
        if self._clock() - self._freed_s >= FREE_CACHE_EVERY_S:
            self._accelerator.free_cache()
            self._freed_s = self._clock()
        if len(batch.lengths) == 1:
            raise GpuUnavailable(f"{self._model}: {tokens} tokens do not fit the GPU: {reason}")
        self.oom_splits += 1
        logger.warning(
            "%s: out of GPU memory with %d sequences of up to %d tokens: running two halves, token budget now %d",
            self._model,
            len(batch.lengths),
            batch.max_len,
            self._budget.tokens,
        )

    @property
    def idle_s(self) -> float:
        """Time since the last forward was launched, or since the start."""
        return self._clock() - self._launched_s

    def trim(self) -> int:
        """Return the allocator's unused memory to the GPU; return how many bytes that were.

        Does nothing while a launch, an offload or a reload is in progress. A launch that comes meanwhile waits, so only
        an idle replica should be trimmed.
        """
        if not self._lock.acquire(blocking=False):
            return 0
        try:
            held_bytes = self._accelerator.memory().held_bytes
            self._accelerator.free_cache()
            return held_bytes - self._accelerator.memory().held_bytes
        finally:
            self._lock.release()

    def offload(self) -> None:
        """Wait for the forwards in flight, then take the weights off the GPU."""
        with self._lock:
            if not self.offloaded:
                self._accelerator.offload()
                self.offloaded = True
                logger.warning("%s: its weights have left the GPU", self._model)

    def reload(self) -> bool:
        """Put the weights on the GPU. Returns whether they are there; the log says why not.

        Raises:
            GpuUnavailable: the device is lost to this process.
        """
        with self._lock:
            if self.unusable is not None:
                return False
            if self.offloaded:
                try:
                    self._accelerator.reload()
                    self._measure_budget()
                    self._accelerator.prepare(self._budget_config.max_tokens)
                except BackendOutOfMemory as error:
                    logger.warning("%s: its weights do not fit yet: %s", self._model, error.message)
                    return False
                except (ModelError, OSError) as error:  # the files have changed or gone since the start
                    logger.error("%s: its weights cannot be read: %s", self._model, error)
                    return False
                except RuntimeError as error:  # such as a GPU for which the installed torch has no kernels
                    self._give_up(f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")
                    return False
                self.offloaded = False
                logger.info("%s: its weights are on the GPU", self._model)
        return True

    def give_up(self, reason: str) -> None:
        """Leave the GPU for good: what it computes of this model is wrong, or cannot be computed. The CPU answers."""
        with self._lock:
            self._give_up(reason)

    def _give_up(self, reason: str) -> None:
        self.unusable = reason
        self.offloaded = True
        logger.error("%s: the GPU is not used until this replica is started again: %s", self._model, reason)
        try:
            self._accelerator.offload()
        except RuntimeError as error:
            logger.warning("%s: its weights stay on the GPU: %s", self._model, error)

    def _measure_budget(self) -> None:
        """Set the budget to what the GPU computes in time, at the first chance."""
        if self._forward_s is None:
            return
        most = self._budget_config.max_tokens
        least = min(LEAST_BUDGET_TOKENS, most)
        tokens = tokens_within(self._forward_s, self._seconds, least=least, most=most)
        logger.info(
            "%s: batches of up to %d tokens, to take at most %.0f ms", self._model, tokens, 1e3 * self._forward_s
        )
        self._forward_s = None
        self._set_budget(tokens)

    def _seconds(self, tokens: int) -> float:
        """Measure a forward over sequences of `TYPICAL_TOKENS`; the first one loads kernels and does not count."""
        count = max(1, tokens // TYPICAL_TOKENS)
        batch = TokenBatch.of([np.ones(tokens // count, dtype=np.int32)] * count)
        took_s = []
        for _ in range(3):
            began_s = self._clock()
            self._accelerator.launch(batch).result()
            took_s.append(self._clock() - began_s)
        return min(took_s[1:])

    def release_scratch(self) -> None:
        """Do nothing: a forward leaves nothing on the host, and `trim` is for the GPU's memory."""

    def close(self) -> None:
        """Release the GPU."""
        self._accelerator.close()

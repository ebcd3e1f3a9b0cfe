"""The simulated GPU: forwards run on the CPU, and their memory is accounted on a modelled GPU.

On any laptop it shows when a real GPU would run out of memory, split batches, offload and reload. The name of its
device contains `simulated`. It does not model speed.
"""

from trivet.checkpoint.memory import Dtype, ModelFacts
from trivet.engine.backend import Backend, BackendOutOfMemory, OneStep, Pending
from trivet.engine.batch.layout import Layout
from trivet.engine.batch.token_batch import TokenBatch
from trivet.engine.cuda.accelerator import DeviceMemory
from trivet.errors import GpuUnavailable
from trivet.simulation.ledger import Ledger
from trivet.vram.errors import SimulatedOutOfMemory

SIMULATED_DTYPE: Dtype = "bf16"


class SimulatedAccelerator:
    """An `Accelerator` over a CPU backend and a shared ledger."""

    in_flight = 1

    def __init__(
        self, inner: Backend, ledger: Ledger, facts: ModelFacts, *, layout: Layout, model: str, cap_bytes: int
    ) -> None:
        """Open a modelled CUDA context; the weights stay off the GPU until `reload`.

        Args:
            inner: computes the forwards.
            ledger: of the modelled GPU.
            facts: the model's sizes.
            layout: in which a real GPU would compute them.
            model: its name in the ledger.
            cap_bytes: what its allocator may take.

        Raises:
            SimulatedOutOfMemory: the context does not fit the modelled GPU.
        """
        self._inner = inner
        self.layout = layout
        self._ledger = ledger
        self._model = model
        self._bytes_per_token = facts.activation_bytes_per_token(SIMULATED_DTYPE)
        self._weights_bytes = facts.weights_bytes(SIMULATED_DTYPE)
        self.device = ledger.gpu.name
        self._fault: str | None = None
        ledger.attach(model, cap_bytes=cap_bytes)

    @property
    def fault(self) -> str | None:
        """Why this process cannot use the modelled GPU any more: it was lost under a forward."""
        return self._fault

    def launch(self, batch: TokenBatch) -> Pending:
        """Reserve the memory that the forward would take on a GPU, and run it on the CPU to its end."""
        if self._ledger.lost:
            self._fault = f"{self.device} is lost"
        if self._fault is not None:
            raise GpuUnavailable(f"{self._model}: {self._fault}")
        try:
            with self._ledger.holding(self._model, self.layout.cost(batch.lengths) * self._bytes_per_token):
                outputs = self._inner.launch(batch).result()
        except SimulatedOutOfMemory as error:
            raise BackendOutOfMemory(error.message) from error
        return OneStep(lambda: outputs)

    def free_cache(self) -> None:
        """Return the modelled cache to the modelled GPU."""
        self._ledger.empty_cache(self._model)

    def offload(self) -> None:
        """Move the modelled weights off the modelled GPU."""
        self._ledger.offload(self._model)

    def reload(self) -> None:
        """Move the modelled weights back."""
        try:
            self._ledger.load(self._model, self._weights_bytes)
        except SimulatedOutOfMemory as error:
            raise BackendOutOfMemory(error.message) from error

    def prepare(self, max_tokens: int) -> None:
        """Do nothing: what runs on the CPU is ready."""

    def memory(self) -> DeviceMemory:
        """Report this process's row of the ledger."""
        row = next(row for row in self._ledger.view().rows if row.model == self._model)
        unused_bytes = row.held_bytes - row.active_bytes
        return DeviceMemory(row.held_bytes, unused_bytes, unused_bytes, row.weights_bytes)

    def measure_context(self) -> int | None:
        """Return None: the ledger has the assumed one."""
        return None

    def close(self) -> None:
        """Leave the modelled GPU and close the CPU backend."""
        self._ledger.detach(self._model)
        self._ledger.close()
        self._inner.close()

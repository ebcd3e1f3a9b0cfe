"""Runs a program on CUDA: one stream, batches in flight, graphs for small ones, a cap on the process's share.

Copies in, forward and copies out are queued on the process's own stream, and the host goes on. It waits for one event
only: that of the batch whose outputs are handed out.
"""

import logging
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, Literal

import numpy as np
import torch
from torch import Tensor

from trivet.config import GpuDtype
from trivet.engine.backend import BackendOutOfMemory, Joined, Pending
from trivet.engine.batch.token_batch import TokenBatch
from trivet.engine.cuda.accelerator import DeviceMemory
from trivet.engine.cuda.graphs import Graphs, Recorded, fill_up, split
from trivet.engine.cuda.programs import Program
from trivet.engine.cuda.share import Share
from trivet.engine.cuda.staging import Slot
from trivet.errors import GpuUnavailable
from trivet.messages import Floats
from trivet.units import format_bytes

logger = logging.getLogger(__name__)

_torch: Any = torch  # what it does not type
_cuda = _torch.cuda

_POISON: Final = (
    "device-side assert",
    "illegal memory access",
    "illegal address",
    "misaligned address",
    "illegal instruction",
    "uncorrectable ECC",
    "launch timed out",
    "unspecified launch failure",
    "GPU is lost",
)
"""Signs in an error's message that the CUDA context is lost: from then on every call of this process fails. What else
is lost, as after a laptop's sleep ("unknown error"), shows when the stream is asked once more."""

_SWITCH_INTERVAL_S: Final = 0.0005
_FIRST_BATCH: Final = TokenBatch.of([np.ones(8, dtype=np.int32), np.ones(5, dtype=np.int32)])

_NO_MEMORY: Final = ("out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUBLAS_STATUS_NOT_INITIALIZED")
"""Signs that a library beside torch's allocator found no memory on the GPU."""

DTYPES: Final[dict[GpuDtype, torch.dtype]] = {
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "fp32": torch.float32,
}


def prepare_process(gpu_fraction: float, *, model: str, process_bytes: Callable[[], int | None]) -> Share:
    """Set what holds for all CUDA work of this process, and return its share of the GPU; see `Share` for the arguments.

    It opens CUDA.
    """
    torch.backends.cudnn.benchmark = False  # it caches a workspace per sequence length: 3 GB within seconds
    # torch prefers cuDNN's attention on recent GPUs. It builds an execution plan for every new shape of a batch: 60 to
    # 100 ms on an H100, while requests wait.
    torch.backends.cuda.enable_cudnn_sdp(False)
    # A thread that launches kernels gives the interpreter away with every one, and waits this long to get it back.
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    return Share(
        gpu_fraction,
        torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory,
        model=model,
        process_bytes=process_bytes,
        cap_allocator=torch.cuda.set_per_process_memory_fraction,
    )


class ShareTooSmall(RuntimeError):
    """The process cannot keep to its share of the GPU with this model."""


class CudaAccelerator:
    """An `Accelerator` over one program; see `trivet.engine.cuda.accelerator`.

    `device` is `cuda` in service. On `cpu` the same code runs without a GPU, for tests; nothing then overlaps.
    """

    in_flight = 2
    """One batch computes while the host prepares the next one."""

    def __init__(
        self,
        program: Callable[[torch.device], Program],
        *,
        graph_tokens: int,
        device: Literal["cuda", "cpu"] = "cuda",
        share: Share | None = None,
    ) -> None:
        """Begin without weights; `reload` puts them on the GPU.

        Args:
            program: makes what runs, for this device.
            graph_tokens: most tokens of a batch that is replayed as a CUDA graph; 0 for none.
            device: where forwards run.
            share: of the GPU that this process keeps to; None: it is not bounded.
        """
        self._on_gpu = device == "cuda"
        self._device = torch.device(device, torch.cuda.current_device()) if self._on_gpu else torch.device("cpu")
        self._stream: Any = _cuda.Stream(self._device) if self._on_gpu else None
        self._program = program(self._device)
        self.layout = self._program.layout
        self._graph_tokens = graph_tokens if self._on_gpu else 0
        self._graphs = Graphs(self._program, self._device, self._stream)
        self._slots: list[Slot] = []  # those that no batch uses
        self._failed: list[Slot] = []  # those of launches that failed
        self._fault: str | None = None
        self._share = share
        self._kept_bytes = 0  # unused memory that the allocator cannot return: of graphs, and parts of segments
        self.device = str(self._device) if self._on_gpu else "cpu (torch)"

    @property
    def attention_padded_because(self) -> str | None:
        """Why attention alone is padded; None where it is not, or where all is."""
        return self._program.attention_padded_because

    @property
    def fault(self) -> str | None:
        """The error that has poisoned the CUDA context; None if there was none."""
        return self._fault

    def launch(self, batch: TokenBatch) -> Pending:
        """See `Accelerator`."""
        try:
            with torch.inference_mode(), self._on_stream():
                return self._enqueue(batch)
        except RuntimeError as error:  # torch's out-of-memory error is one too
            reason = self._out_of_memory(error)
        # Outside of the except block: a live traceback would keep the failed forward's tensors alive.
        raise BackendOutOfMemory(reason)

    def _enqueue(self, batch: TokenBatch) -> Pending:
        recorded = self._graphs.find(batch.tokens, len(batch.lengths))
        if recorded is None and self._graphs.has_room_for_halves(batch.tokens, len(batch.lengths)):
            return Joined(*(self._enqueue(half) for half in batch.halves()))
        slot = self._slots.pop() if self._slots else Slot(pinned=self._on_gpu)
        try:
            outputs = self._forward(batch, recorded, slot)
            return _InFlight(self, slot, slot.receive(outputs), self._mark())
        except BaseException:
            self._take_back(slot)
            raise

    def _take_back(self, slot: Slot) -> None:
        """Keep the slot of a launch that has failed; a copy from it may still be waiting in the stream."""
        self._failed.append(slot)
        # With the context lost, torch would end the process over pinned pages that are freed: they stay.
        if self._answers():
            self._slots.append(self._failed.pop())

    def _forward(self, batch: TokenBatch, recorded: Recorded | None, slot: Slot) -> Tensor:
        if recorded is not None:
            recorded.inputs.copy_(slot.stage(fill_up(batch, recorded.bucket)), non_blocking=True)
            recorded.graph.replay()
            return recorded.outputs[: len(batch.lengths)]
        arrays = self._program.arrays(batch)
        inputs = slot.stage(arrays).to(self._device, non_blocking=True)
        return self._program.forward(split(inputs, arrays), batch.max_len)

    def _on_stream(self) -> AbstractContextManager[Any]:
        return torch.cuda.stream(self._stream) if self._on_gpu else nullcontext()

    def _mark(self) -> Any:
        """Record an event behind all that is queued; None without a GPU."""
        if not self._on_gpu:
            return None
        event = _cuda.Event(blocking=True)  # a thread that waits for it sleeps
        event.record(self._stream)
        return event

    def read(self, slot: Slot, received: Tensor, event: Any) -> Floats:
        """Wait for a batch, copy its outputs and give its slot to the next one."""
        try:
            if event is not None:
                event.synchronize()
            outputs: Floats = received.numpy().astype(np.float32, copy=True)
        except RuntimeError as error:
            raise GpuUnavailable(f"the GPU failed while it computed: {self._out_of_memory(error)}") from error
        finally:
            self._slots.append(slot)
        return outputs

    def _out_of_memory(self, error: RuntimeError) -> str:
        """Return what ran out of memory. Raises any other error as what it means."""
        message = str(error)
        poisoned = any(sign in message for sign in _POISON)
        if not poisoned and (isinstance(error, torch.OutOfMemoryError) or any(sign in message for sign in _NO_MEMORY)):
            return message.split(". ")[0]
        if poisoned or not self._answers():
            self._fault = message.splitlines()[0]
            raise GpuUnavailable(f"the CUDA context is lost: {self._fault}") from error
        raise error

    def _answers(self) -> bool:
        """Whether the context still works: an error that ends it is raised again by every later call."""
        try:
            self._synchronize()
        except RuntimeError as error:
            logger.warning("the GPU does not answer: %s", str(error).partition("\n")[0])
            return False
        return True

    def _synchronize(self) -> None:
        """Wait until all that is queued has ended."""
        if self._on_gpu:
            self._stream.synchronize()

    def free_cache(self) -> None:
        """Return the allocator's cached blocks to the driver."""
        if self._on_gpu:
            torch.cuda.empty_cache()
            self._kept_bytes = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()

    def offload(self) -> None:
        """See `Accelerator`."""
        self._synchronize()
        self._graphs.forget()
        self._program.unload()
        if self._on_gpu:
            _torch._C._cuda_clearCublasWorkspaces()  # tens of megabytes for each stream
        self.free_cache()

    def reload(self) -> None:
        """See `Accelerator`. Raises `ShareTooSmall` where the weights can never fit."""
        if self._share is not None and self._program.weights_bytes > self._share.all_bytes:
            weights, room = format_bytes(self._program.weights_bytes), format_bytes(self._share.all_bytes)
            raise ShareTooSmall(f"gpu_fraction is too small: the weights take {weights}, the process may take {room}")
        reason = self._attempt(self._program.load)
        if reason is None and self._share is not None:
            reason = self._attempt(self._load_kernels)
        if reason is not None:
            self.offload()
            raise BackendOutOfMemory(reason)
        self.free_cache()  # what remains is the weights' and the libraries'
        beyond = self._beyond_share()
        if beyond is not None:
            raise ShareTooSmall(f"gpu_fraction is too small, with the weights alone {beyond}")

    def prepare(self, max_tokens: int) -> None:
        """See `Accelerator`. Records CUDA graphs; without memory for them, forwards run without.

        Graphs lie in the allocator and outside of it. Where both together exceed the process's share, they are dropped.
        """
        most = min(max_tokens, self._graph_tokens)
        if not most:
            self.measure_context()
            return
        self.free_cache()  # graphs have memory of their own
        try:
            reason = self._attempt(lambda: self._graphs.record(most))
        except RuntimeError as error:  # running out while a graph is recorded may show as an error of the recording
            reason = str(error).partition("\n")[0]
        self.free_cache()  # afterwards it is known what the graphs keep
        if reason is None:
            reason = self._beyond_share()
        if reason is not None:
            self._graphs.forget()
            logger.warning("no CUDA graphs, small batches will take longer: %s", reason)
            self.free_cache()
            self.measure_context()

    @torch.inference_mode()
    def _load_kernels(self) -> None:
        """Compute something: the code of kernels is loaded when they first run, and lies outside the allocator."""
        self._enqueue(_FIRST_BATCH).result()

    def _beyond_share(self) -> str | None:
        """Measure what the process holds; return by how much that exceeds its share, None if it does not."""
        if self._share is None:
            return None
        self._share.measure(self._held_bytes)
        beyond_bytes = self._held_bytes() - self._share.allocator_bytes
        if beyond_bytes <= 0:
            return None
        return f"the process's share of the GPU is exceeded by {format_bytes(beyond_bytes)}"

    def measure_context(self) -> int | None:
        """See `Accelerator`."""
        if self._share is None:
            return None
        self._share.measure(self._held_bytes)
        return self._share.measured_bytes

    def _attempt(self, step: Callable[[], None]) -> str | None:
        """Run a step on the stream; return what ran out of memory, None where it worked."""
        try:
            with self._on_stream():
                step()
            self._synchronize()
        except RuntimeError as error:
            return self._out_of_memory(error)
        return None

    def memory(self) -> DeviceMemory:
        """Report the figures of the caching allocator; zeros without a GPU."""
        reserved = self._held_bytes()
        allocated = torch.cuda.memory_allocated() if self._on_gpu else 0
        unused = reserved - allocated
        return DeviceMemory(reserved, unused, max(0, unused - self._kept_bytes), self._program.weights_bytes)

    def _held_bytes(self) -> int:
        return int(torch.cuda.memory_reserved()) if self._on_gpu else 0

    def close(self) -> None:
        """Drop the weights; the context's memory is released with the process."""
        self._graphs.forget()
        self._program.unload()


class _InFlight:
    """A batch that the device computes."""

    def __init__(self, accelerator: CudaAccelerator, slot: Slot, received: Tensor, event: Any) -> None:
        self._accelerator = accelerator
        self._slot, self._received, self._event = slot, received, event

    def step(self) -> Floats:
        """Wait for the outputs."""
        return self._accelerator.read(self._slot, self._received, self._event)

    result = step

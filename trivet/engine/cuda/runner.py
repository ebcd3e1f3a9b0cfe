"""Runs a torch module in 16 bits on CUDA, under a cap on the process's share of the GPU."""

import logging
from collections.abc import Callable
from typing import Literal, Protocol, cast

import torch

from trivet.engine.backend import BackendOutOfMemory
from trivet.engine.batch.layout import PADDED
from trivet.engine.batch.token_batch import Int64s, TokenBatch
from trivet.engine.cuda.accelerator import DeviceMemory
from trivet.errors import GpuUnavailable
from trivet.messages import Floats

logger = logging.getLogger(__name__)

CudaDtype = Literal["bf16", "fp16"]

_POISON = (
    "device-side assert",
    "illegal memory access",
    "illegal address",
    "unspecified launch failure",
    "GPU is lost",
)
"""Signs in an error's message that the CUDA context is lost: from then on every call of this process fails."""

DTYPES: dict[CudaDtype, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_dtype(asked: Literal["auto", "bf16", "fp16"]) -> CudaDtype:
    """Replace `auto` by bf16 if this GPU computes it natively, else by fp16."""
    if asked != "auto":
        return asked
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"


class NamedInputs(Protocol):
    """A module that states which arrays of a batch it takes; see `trivet.engine.models.load`."""

    input_names: tuple[str, ...]


class CudaAccelerator:
    """An `Accelerator` over one torch module; see `trivet.engine.cuda.accelerator`.

    `device` is `cuda` in service. On `cpu` the same code runs without a GPU, for tests.
    """

    layout = PADDED

    def __init__(
        self,
        load: Callable[[torch.dtype], torch.nn.Module],
        dtype: torch.dtype,
        *,
        cap_fraction: float,
        device: Literal["cuda", "cpu"] = "cuda",
    ) -> None:
        """Load the module on the host; `reload` moves it to the GPU.

        Args:
            load: builds the module on the host in the given dtype.
            dtype: of weights and activations.
            cap_fraction: largest share of the GPU's memory that this process's allocator may take.
            device: where forwards run.
        """
        self._on_gpu = device == "cuda"
        if self._on_gpu:
            torch.backends.cudnn.benchmark = False  # it caches a workspace per sequence length: 3 GB within seconds
            # torch prefers cuDNN's attention on recent GPUs. It builds an execution plan for every new shape of a
            # batch: 60 to 100 ms on an H100, while requests wait.
            torch.backends.cuda.enable_cudnn_sdp(False)
            torch.cuda.set_per_process_memory_fraction(cap_fraction)
        self._target = device
        self._module = load(dtype).eval()
        self._input_names = cast("NamedInputs", self._module).input_names
        self._weights_bytes = sum(tensor.nbytes for tensor in (*self._module.parameters(), *self._module.buffers()))
        self._fault: str | None = None
        self.device = f"cuda:{torch.cuda.current_device()}" if self._on_gpu else "cpu (torch)"

    @property
    def fault(self) -> str | None:
        """The error that has poisoned the CUDA context; None if there was none."""
        return self._fault

    @torch.inference_mode()
    def run(self, batch: TokenBatch) -> Floats:
        """Copy a batch to the device, run the module and copy the outputs back."""
        available = batch.padded()
        try:
            outputs = self._module(**{name: self._to_device(available[name]) for name in self._input_names})
            result: Floats = outputs.float().cpu().numpy()  # (B, outputs): the only wait for the device
        except torch.OutOfMemoryError as error:
            raise BackendOutOfMemory(_first_sentence(error)) from None  # the traceback would hold the tensors
        except RuntimeError as error:
            if any(sign in str(error) for sign in _POISON):
                self._fault = str(error).splitlines()[0]
                raise GpuUnavailable(f"the CUDA context is lost: {self._fault}") from error
            raise
        return result

    def _to_device(self, array: Int64s) -> torch.Tensor:
        """Copy an array to the device, without waiting for the copy."""
        tensor = torch.from_numpy(array)
        return tensor.pin_memory().to(self._target, non_blocking=True) if self._on_gpu else tensor

    def free_cache(self) -> None:
        """Return the allocator's cached blocks to the driver."""
        if self._on_gpu:
            torch.cuda.empty_cache()

    def offload(self) -> None:
        """Move the weights to host memory."""
        self._module.to("cpu")
        self.free_cache()

    def reload(self) -> None:
        """Move the weights to the GPU; if they do not fit, all of them return to the host."""
        try:
            self._module.to(self._target)
        except torch.OutOfMemoryError as error:
            message = _first_sentence(error)
        else:
            return
        self.offload()
        raise BackendOutOfMemory(message)

    def memory(self) -> DeviceMemory:
        """Report the figures of the caching allocator; zeros without a GPU."""
        reserved = torch.cuda.memory_reserved() if self._on_gpu else 0
        allocated = torch.cuda.memory_allocated() if self._on_gpu else 0
        return DeviceMemory(reserved, reserved - allocated, self._weights_bytes)

    def close(self) -> None:
        """Drop the module; its memory is released with the process."""
        del self._module


def _first_sentence(error: Exception) -> str:
    return str(error).split(". ")[0]

"""The GPU lane on CUDA: a torch module in 16 bits under a cap on the process's share of the card."""

import logging
from collections.abc import Callable
from typing import Literal

import torch

from trivet.engine.backend import BackendOutOfMemory
from trivet.engine.backends.accelerator import DeviceMemory
from trivet.engine.rows import Int64s, TokenBatch
from trivet.errors import GpuUnavailable
from trivet.messages import Floats

logger = logging.getLogger(__name__)

CudaDtype = Literal["bf16", "fp16"]

ALLOCATOR_ENV = {"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True"}
"""Set before torch is imported: segments that grow keep mixed lengths from fragmenting the cap."""

_POISON = (
    "device-side assert",
    "illegal memory access",
    "illegal address",
    "unspecified launch failure",
    "GPU is lost",
)
"""After these the CUDA context of this process answers nothing but errors."""


def resolve_dtype(asked: Literal["auto", "bf16", "fp16"]) -> CudaDtype:
    """What `auto` means on this card."""
    if asked != "auto":
        return asked
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"


class CudaAccelerator:
    """An `Accelerator` over one torch module; see `trivet.engine.backends.accelerator`."""

    def __init__(
        self, load: Callable[[torch.dtype], torch.nn.Module], dtype: CudaDtype, *, cap_fraction: float
    ) -> None:
        """Load the module on the host; `unpark` takes it to the card.

        Args:
            load: builds the module on the host in the given dtype.
            dtype: of weights and activations.
            cap_fraction: largest share of the card that this process's allocator may take.
        """
        torch.backends.cudnn.benchmark = False  # it caches a workspace per sequence length: 3 GB within seconds
        torch.cuda.set_per_process_memory_fraction(cap_fraction)
        self._module = load(torch.bfloat16 if dtype == "bf16" else torch.float16).eval()
        self._weights_bytes = sum(tensor.nbytes for tensor in (*self._module.parameters(), *self._module.buffers()))
        self._fault: str | None = None
        self.device = f"cuda:{torch.cuda.current_device()}"

    @property
    def fault(self) -> str | None:
        """The error that poisoned the context, if one has."""
        return self._fault

    @torch.inference_mode()
    def run(self, batch: TokenBatch) -> Floats:
        """One copy in, one forward, one copy out."""
        try:
            outputs = self._module(
                _to_device(batch.input_ids), _to_device(batch.attention_mask), _to_device(batch.token_type_ids)
            )
            result: Floats = outputs.float().cpu().numpy()  # (B, outputs): the only wait for the device
        except torch.OutOfMemoryError as error:
            raise BackendOutOfMemory(str(error).split(". ")[0]) from None  # the traceback would hold the tensors
        except RuntimeError as error:
            if any(sign in str(error) for sign in _POISON):
                self._fault = str(error).splitlines()[0]
                raise GpuUnavailable(f"the CUDA context is lost: {self._fault}") from error
            raise
        return result

    def free_cache(self) -> None:
        """Return cached blocks to the driver."""
        torch.cuda.empty_cache()

    def park(self) -> None:
        """Move the weights to host memory."""
        self._module.to("cpu")
        torch.cuda.empty_cache()

    def unpark(self) -> None:
        """Move them back; a half-moved module goes to the host again."""
        try:
            self._module.to("cuda")
        except torch.OutOfMemoryError as error:
            message = str(error).split(". ")[0]
        else:
            return
        self.park()
        raise BackendOutOfMemory(message)

    def memory(self) -> DeviceMemory:
        """The caching allocator's own figures."""
        reserved = torch.cuda.memory_reserved()
        return DeviceMemory(reserved, reserved - torch.cuda.memory_allocated(), self._weights_bytes)

    def close(self) -> None:
        """Drop the module and what it held."""
        del self._module
        torch.cuda.empty_cache()


def _to_device(array: Int64s) -> torch.Tensor:
    """(B, T) int64 on the card, without waiting for the copy."""
    return torch.from_numpy(array).pin_memory().to("cuda", non_blocking=True)

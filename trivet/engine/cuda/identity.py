"""Which GPU this process computes on, whatever its index is here."""

import os


def current_gpu_uuid() -> str:
    """Return the UUID of this process's first GPU as the driver writes it. CUDA must be usable."""
    import torch

    return gpu_uuid(os.environ.get("CUDA_VISIBLE_DEVICES"), str(torch.cuda.get_device_properties(0).uuid))


def gpu_uuid(visible: str | None, uuid: str) -> str:
    """Return the UUID as the driver writes it.

    Args:
        visible: `CUDA_VISIBLE_DEVICES`. Where its first entry names a MIG instance, that is the answer: CUDA's
            properties may name the GPU that the instance is a part of.
        uuid: CUDA's UUID of the first visible device, with or without the driver's prefix.
    """
    first = (visible or "").split(",")[0].strip()
    if first.startswith("MIG-"):
        return first
    return uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}"

"""Errors of the VRAM subsystem. Probes raise none of them: an unreadable GPU is an `Observation` with a reason."""

from trivet.errors import ConfigError, TrivetError
from trivet.units import format_bytes


class SimulatedOutOfMemory(TrivetError):
    """The simulated GPU has no room for an allocation, as CUDA's out-of-memory error says of a real GPU."""

    def __init__(self, *, model: str, asked_bytes: int, free_bytes: int) -> None:
        super().__init__(
            f"simulated GPU: {model} asked for {format_bytes(asked_bytes)}, {format_bytes(free_bytes)} free"
        )
        self.model = model
        self.asked_bytes = asked_bytes
        self.free_bytes = free_bytes


class DoesNotFit(ConfigError):
    """The models cannot share the GPU; the message has the numbers and names the nearest preset that fits."""

    def __init__(self, message: str, *, needed_bytes: int, gpu_bytes: int, nearest_preset: str) -> None:
        super().__init__(message)
        self.needed_bytes = needed_bytes
        self.gpu_bytes = gpu_bytes
        self.nearest_preset = nearest_preset

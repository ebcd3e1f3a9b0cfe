"""Choices of models for common GPUs. Data only; the planner checks whether they fit."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from trivet.units import GIB

_FLAGSHIP = (
    "nomic-ai/nomic-embed-text-v2-moe",
    "BAAI/bge-reranker-base",
    "MoritzLaurer/ModernBERT-large-zeroshot-v2.0",
)
_SMALLER = (
    "Alibaba-NLP/gte-modernbert-base",
    "Alibaba-NLP/gte-reranker-modernbert-base",
    "MoritzLaurer/ModernBERT-base-zeroshot-v2.0",
)
_SMALLEST = (
    "sentence-transformers/all-MiniLM-L6-v2",
    "cross-encoder/ms-marco-MiniLM-L6-v2",
    "MoritzLaurer/deberta-v3-xsmall-zeroshot-v1.1-all-33",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """Three models (embedder, reranker, classifier) for a GPU, and the memory left to other processes."""

    name: str
    gpu_bytes: int
    """Size of the GPU that the preset is meant for; 0 for no GPU."""
    external_bytes: int
    """Memory that the preset leaves to other processes on that GPU."""
    models: tuple[str, str, str]
    smaller_models: tuple[str, str, str]
    """The alternative where other processes need more of the GPU, or where latency matters more than quality."""
    purpose: str


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        preset.name: preset
        for preset in (
            Preset(
                name="8gb",
                gpu_bytes=8 * GIB,
                external_bytes=1 * GIB,
                models=_FLAGSHIP,
                smaller_models=_SMALLER,
                purpose="a laptop's GPU, with a desktop on it",
            ),
            Preset(
                name="12gb",
                gpu_bytes=12 * GIB,
                external_bytes=5 * GIB,
                models=_FLAGSHIP,
                smaller_models=_SMALLER,
                purpose="next to a small LLM of 7 to 8 billion parameters at 4 bits",
            ),
            Preset(
                name="24gb",
                gpu_bytes=24 * GIB,
                external_bytes=12 * GIB,
                models=_FLAGSHIP,
                smaller_models=_SMALLER,
                purpose="next to an LLM of 10 to 12 GB",
            ),
            Preset(
                name="cpu",
                gpu_bytes=0,
                external_bytes=0,
                models=_SMALLEST,
                smaller_models=_SMALLEST,
                purpose="no GPU",
            ),
        )
    }
)

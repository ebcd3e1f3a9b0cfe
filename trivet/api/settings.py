"""The HTTP side's part of the configuration."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import ByteSize

from trivet.api.common_names import COMMON_NAMES
from trivet.api.cost import ExpansionLimits
from trivet.api.key_ring import KeySource, open_keys
from trivet.config import DEFAULT_RELATIONS, AppConfig, CacheConfig
from trivet.dispatch.blending import Blend
from trivet.paths import cache_dir, expanded
from trivet.starter import shipped_card


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """Limits of requests, keys, the cache, and the default relations."""

    max_body_bytes: int = 8 * 1024**2
    max_open_bodies_bytes: int = 256 * 1024**2
    max_inputs: int = 2048
    max_elements: int = 32_768
    """JSON values in one body."""
    expansion: ExpansionLimits = field(default_factory=ExpansionLimits)
    max_request_tokens: int = 1_000_000
    """Of one call to a model."""
    max_graph_tokens: int = 500_000_000
    """Estimated tokens of one graph."""
    max_graphs: int = 2
    """Graphs that this process computes at a time."""
    unread_timeout_s: float = 60.0
    """An answer of which its caller reads nothing for this long is ended."""
    request_timeout_s: float = 300.0
    passage_tokens: int = 200
    """Estimated tokens of a passage, at most."""
    relations: Mapping[str, str] = field(default_factory=lambda: dict(DEFAULT_RELATIONS))
    no_relation: str | None = "unrelated"
    symmetric_relations: tuple[str, ...] = ("contradiction", "unrelated")
    """Labels without a direction."""
    link_relation: str | None = "dependency"
    """In graphs, the relation of code that uses what other code defines."""
    clear_unrelated: float | None = None
    """Score of `no_relation`, read alone, from which the other configured relations are not read."""
    threshold: float = 0.0
    """Least confidence of an edge where a request gives none. It applies to the configured relations only."""
    min_relevance: float = 0.0
    """Least relevance of a candidate where a request gives none."""
    blend: Blend | None = None
    """How the embedder's similarity enters the reranker's scores."""
    model_aliases: Mapping[str, str] = field(default_factory=dict)
    """More names that clients may send as `model`, each mapped to a served name or a task (`embedder`, …)."""
    allowed_origins: tuple[str, ...] = ()
    """Origins of web pages that may call the API; `*` means all."""
    truncate_means: Literal["window", "truncate"] = "window"
    """The meaning of `truncate: true` in the TEI dialect. Clients send it by default, rarely to lose text."""
    untrained_dimensions: Literal["report", "refuse"] = "report"
    """What becomes of `dimensions` for which the model was not trained, as far as is known."""
    max_concurrent_requests: int = 256
    """Reported by `/info`."""
    max_batch_tokens: int = 1024
    """Padded tokens of one forward, reported by `/info`."""
    stream_chunk_inputs: int = 32
    """Inputs of a streamed request in one engine call."""
    parallel_calls: int = 4
    """Engine calls that one request may have in flight."""
    keys: KeySource | None = None
    """Callers that are admitted; None admits everybody who reaches the port."""
    max_open_characters: int = 64_000_000
    """Text of the calls in flight to one model."""
    cache: CacheConfig = field(default_factory=lambda: CacheConfig(memory=ByteSize(0)))
    cache_folder: Path = Path()
    """Folder of the disk cache, if there is one."""
    computed_with: str = ""
    """The settings that results depend on besides the model. They are part of every cache key."""

    @classmethod
    def from_config(cls, config: AppConfig) -> "ApiSettings":
        """Take the HTTP side's part of the configuration and read the keys; ConfigError if those are unreadable."""
        return cls(
            max_body_bytes=int(config.limits.max_body),
            max_open_bodies_bytes=int(config.limits.max_open_bodies),
            max_inputs=config.limits.max_inputs,
            max_elements=config.limits.max_elements,
            expansion=ExpansionLimits(config.limits.max_expanded_characters, config.limits.max_sequences),
            max_request_tokens=config.limits.max_request_tokens,
            max_graph_tokens=config.limits.max_graph_tokens,
            max_graphs=config.limits.max_graphs,
            unread_timeout_s=config.limits.unread_timeout_s,
            request_timeout_s=config.limits.request_timeout_s,
            passage_tokens=config.passages.max_tokens,
            relations=dict(config.relations),
            no_relation=config.no_relation,
            symmetric_relations=config.symmetric_relations,
            link_relation=config.link_relation,
            clear_unrelated=_clear_unrelated(config),
            threshold=_threshold(config),
            min_relevance=_min_relevance(config),
            blend=_blend(config),
            max_concurrent_requests=config.serving.max_ongoing_requests,
            max_batch_tokens=config.cpu.token_budget,
            model_aliases=_aliases(config),
            allowed_origins=config.api.allowed_origins,
            truncate_means=config.api.truncate_means,
            untrained_dimensions=config.api.untrained_dimensions,
            keys=open_keys(Path(config.api.keys_file) if config.api.keys_file else None, os.environ),
            max_open_characters=config.limits.max_open_characters,
            cache=config.cache,
            cache_folder=_cache_folder(config),
            computed_with=_computed_with(config),
        )


def _aliases(config: AppConfig) -> dict[str, str]:
    common = COMMON_NAMES if config.api.common_model_names else {}
    return {**common, **config.api.model_aliases}


def _threshold(config: AppConfig) -> float:
    """Return the configured value, else the one measured for the starter classifier with the default relations."""
    if config.threshold is not None:
        return config.threshold
    return shipped_card("classifier").threshold if _is_measured(config) else 0.0


def _clear_unrelated(config: AppConfig) -> float | None:
    """Return the configured value, else the one measured for the starter classifier with the default relations."""
    if config.clear_unrelated is not None:
        return config.clear_unrelated if config.clear_unrelated < 1 else None
    card = shipped_card("classifier")
    measured = _is_measured(config) and config.no_relation == AppConfig.model_fields["no_relation"].default
    # It spares what no edge of the card's threshold needs; edges of a lower one may need it.
    return card.clear_unrelated if measured and _threshold(config) >= card.threshold else None


def _is_measured(config: AppConfig) -> bool:
    """Whether the classifier's card is about this classifier with these relations."""
    return config.classifier.model == "starter" and config.relations == DEFAULT_RELATIONS


def _min_relevance(config: AppConfig) -> float:
    """Return the configured value, else the one measured for the starter reranker; other scores are not comparable."""
    if config.min_relevance is not None:
        return config.min_relevance
    return shipped_card("reranker").threshold if config.reranker.model == "starter" else 0.0


def _blend(config: AppConfig) -> Blend | None:
    """Return the configured blend, else the one on the starter reranker's card, which is measured with the starters."""
    if config.reranker.blend is not None:
        blend = Blend(**config.reranker.blend.model_dump())
        return blend if blend.cosine_weight else None
    if config.reranker.model != "starter" or config.embedder.model != "starter":
        return None
    measured = shipped_card("reranker").blend
    return None if measured is None else Blend(**measured.model_dump())


def _cache_folder(config: AppConfig) -> Path:
    if config.cache.dir is not None:
        return expanded(config.cache.dir)
    return cache_dir(config.serving.cache_dir) / "results"


def _computed_with(config: AppConfig) -> str:
    """Settings of both lanes, since they share results: see docs/decisions."""
    settings = f"overlap {config.windows.overlap_tokens}, cpu {config.cpu.precision}, gpu {config.gpu.dtype}"
    if config.embedder.prompts is not None:
        settings += f", prompts {sorted(config.embedder.prompts.items())}"
    return settings if config.reranker.template is None else f"{settings}, template {config.reranker.template}"

"""`GET /info` of text-embeddings-inference, from a model's card."""

from typing_extensions import TypedDict

import trivet
from trivet.api.settings import ApiSettings
from trivet.messages import ModelCard


class Pooling(TypedDict):
    """How token vectors become one."""

    pooling: str


class LabelMaps(TypedDict):
    """Classes by index and back."""

    id2label: dict[str, str]
    label2id: dict[str, int]


class ModelType(TypedDict, total=False):
    """Exactly one of these."""

    embedding: Pooling
    reranker: LabelMaps
    classifier: LabelMaps


class TeiInfo(TypedDict):
    """What clients read at start-up to size their batches."""

    model_id: str
    model_sha: str
    model_dtype: str
    model_type: ModelType
    max_concurrent_requests: int
    max_input_length: int
    max_batch_tokens: int
    max_batch_requests: None
    max_client_batch_size: int
    auto_truncate: bool
    tokenization_workers: int
    version: str
    sha: None
    docker_label: None


def tei_info(card: ModelCard, settings: ApiSettings) -> TeiInfo:
    """Describe a model in TEI's shape. `max_input_length` is that of one window; longer texts are accepted."""
    return {
        "model_id": card.name,
        "model_sha": card.revision,
        "model_dtype": card.precision,
        "model_type": _model_type(card),
        "max_concurrent_requests": settings.max_concurrent_requests,
        "max_input_length": card.max_tokens,
        "max_batch_tokens": settings.max_batch_tokens,
        "max_batch_requests": None,
        "max_client_batch_size": settings.max_inputs,
        "auto_truncate": False,
        "tokenization_workers": 1,
        "version": trivet.__version__,
        "sha": None,
        "docker_label": None,
    }


def _model_type(card: ModelCard) -> ModelType:
    if card.task == "embedder":
        return {"embedding": {"pooling": card.pooling or "unknown"}}
    labels = dict(card.labels) or {"LABEL_0": 0}
    maps: LabelMaps = {"id2label": {str(index): label for label, index in labels.items()}, "label2id": labels}
    return {"reranker": maps} if card.task == "reranker" else {"classifier": maps}

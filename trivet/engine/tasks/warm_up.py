"""The request that a replica computes before it reports that it is ready."""

from trivet.config import Task
from trivet.messages import ClassifyRequest, EmbedRequest, EngineRequest, PairText, RerankRequest

_TEXT = "A stand with three legs does not wobble."


def warm_up_request(task: Task) -> EngineRequest:
    """Return a small request of the task."""
    if task == "embedder":
        return EmbedRequest((_TEXT,))
    if task == "reranker":
        return RerankRequest(_TEXT, (_TEXT,))
    return ClassifyRequest((PairText(_TEXT),), {"furniture": "This example is about furniture."})

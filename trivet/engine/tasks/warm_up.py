"""The request that a replica computes before it reports that it is ready."""

from trivet.checkpoint.description import ModelFiles
from trivet.messages import ClassifyRequest, EmbedRequest, EngineRequest, PairText, RerankRequest

_TEXT = "A stand with three legs does not wobble."


def warm_up_request(files: ModelFiles) -> EngineRequest:
    """Return a small request to a model, for its most usual output."""
    task = files.task
    if task == "embedder":
        return EmbedRequest((_TEXT,), output=files.outputs[0])
    if task == "reranker":
        return RerankRequest(_TEXT, (_TEXT,))
    return ClassifyRequest((PairText(_TEXT),), {"furniture": "This example is about furniture."})

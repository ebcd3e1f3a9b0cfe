"""A client for a Trivet server, blocking (`Client`) or asynchronous (`AsyncClient`).

    from trivet.client import Client

    with Client("http://127.0.0.1:8000") as client:
        ranking = client.rerank("how do I retry?", ["a CSS grid", "wait, then send the request again"])

It only makes HTTP requests; importing it imports no model, no Ray and no server code.
"""

from trivet.client.answers import (
    Classification,
    Classified,
    Edge,
    Embedding,
    Embeddings,
    Evidence,
    LabelScore,
    LaneState,
    Models,
    ModelState,
    Omitted,
    QuantizedEmbedding,
    QuantizedEmbeddings,
    Ranked,
    Ranking,
    Readiness,
    Relations,
    ServedModel,
    Service,
    Span,
    SparseEmbedding,
    SparseEmbeddings,
    TokenCounts,
    TokenEmbedding,
    TokenEmbeddings,
)
from trivet.client.async_client import AsyncClient
from trivet.client.bulk import Batch, BatchLimits, Progress
from trivet.client.calls import Pair, RelationPair
from trivet.client.errors import (
    Busy,
    ClientError,
    Denied,
    MalformedAnswer,
    NotListening,
    Refused,
    ServerFailed,
    TimedOut,
    Unreachable,
)
from trivet.client.graph import (
    DocumentDone,
    GraphDocument,
    GraphEdge,
    GraphEvent,
    GraphProgress,
    GraphSummary,
    RefusedDocument,
)
from trivet.client.retries import Retries
from trivet.client.sync_client import Client

__all__ = [
    "AsyncClient",
    "Batch",
    "BatchLimits",
    "Busy",
    "Classification",
    "Classified",
    "Client",
    "ClientError",
    "Denied",
    "DocumentDone",
    "Edge",
    "Embedding",
    "Embeddings",
    "Evidence",
    "GraphDocument",
    "GraphEdge",
    "GraphEvent",
    "GraphProgress",
    "GraphSummary",
    "LabelScore",
    "LaneState",
    "MalformedAnswer",
    "ModelState",
    "Models",
    "NotListening",
    "Omitted",
    "Pair",
    "Progress",
    "QuantizedEmbedding",
    "QuantizedEmbeddings",
    "Ranked",
    "Ranking",
    "Readiness",
    "Refused",
    "RefusedDocument",
    "RelationPair",
    "Relations",
    "Retries",
    "ServedModel",
    "ServerFailed",
    "Service",
    "Span",
    "SparseEmbedding",
    "SparseEmbeddings",
    "TimedOut",
    "TokenCounts",
    "TokenEmbedding",
    "TokenEmbeddings",
    "Unreachable",
]

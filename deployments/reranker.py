"""Reranking as a deployment."""

from typing import ClassVar

from deployments.replica import ModelReplica
from trivet.config import Task


class Reranker(ModelReplica):
    """See `ModelReplica`; bound once per lane by `app.build`."""

    task: ClassVar[Task] = "reranker"

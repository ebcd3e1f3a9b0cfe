"""Reranking as a deployment."""

from typing import ClassVar

from deployments.replica import ModelReplica
from trivet.config import Task


class Reranker(ModelReplica):
    """The reranker on one lane; `app.build` binds it once per lane."""

    task: ClassVar[Task] = "reranker"

"""Text embedding as a deployment."""

from typing import ClassVar

from deployments.replica import ModelReplica
from trivet.config import Task


class Embedder(ModelReplica):
    """The embedder on one lane; `app.build` binds it once per lane."""

    task: ClassVar[Task] = "embedder"

"""Text embedding as a deployment."""

from typing import ClassVar

from deployments.replica import ModelReplica
from trivet.config import Task


class Embedder(ModelReplica):
    """See `ModelReplica`; bound once per lane by `app.build`."""

    task: ClassVar[Task] = "embedder"

"""Zero-shot classification as a deployment."""

from typing import ClassVar

from deployments.replica import ModelReplica
from trivet.config import Task


class Classifier(ModelReplica):
    """The classifier on one lane; `app.build` binds it once per lane."""

    task: ClassVar[Task] = "classifier"

"""What bodies of text-embeddings-inference have in common."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from trivet.api.fields import Flag
from trivet.api.options import CallOptions
from trivet.api.service import Service
from trivet.errors import InvalidInput
from trivet.messages import LongInput


class TeiBody(BaseModel):
    """A body whose unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore", strict=True)


class TruncatingBody(TeiBody):
    """A body that says what becomes of long texts."""

    truncate: Flag | None = None
    truncation_direction: Literal["Left", "Right", "left", "right"] | None = "Right"

    def long_input(self, service: Service, options: CallOptions) -> LongInput:
        """Return the policy that `truncate` means."""
        if not self.truncate or service.settings.truncate_means == "window":
            return options.long_input
        if self.truncation_direction in ("Left", "left"):
            raise InvalidInput("texts are cut on the right only", field="truncation_direction")
        return "truncate"

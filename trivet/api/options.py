"""Request headers that every dialect understands, since no other server's body has a place for them."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header
from pydantic import WithJsonSchema

from trivet.messages import LongInput, Priority

_OWN_SHARE = 0.95
"""Serve's proxy reads the same header, counts from a little earlier, and gives up in plain text: we give up first."""


@dataclass(frozen=True, slots=True)
class CallOptions:
    """How a caller wants to be served."""

    timeout_s: float | None = None
    """None: as configured."""
    priority: Priority = "interactive"
    long_input: LongInput = "window"


async def _call_options(  # a plain function would be run in a thread, for every request
    x_request_timeout_seconds: Annotated[
        float | None,
        Header(ge=0.001, le=86400, allow_inf_nan=False, description="Give up after this time, with 408."),
        WithJsonSchema({"type": "number", "minimum": 0.001, "maximum": 86400}),  # a header is never null
    ] = None,
    x_trivet_priority: Annotated[
        Priority, Header(description="`bulk` lets interactive requests overtake it: for indexing.")
    ] = "interactive",
    x_trivet_long_input: Annotated[
        LongInput, Header(description="What becomes of a text longer than the model: see the long-input policy.")
    ] = "window",
) -> CallOptions:
    timeout_s = None if x_request_timeout_seconds is None else _OWN_SHARE * x_request_timeout_seconds
    return CallOptions(timeout_s, x_trivet_priority, x_trivet_long_input)


Options = Annotated[CallOptions, Depends(_call_options)]
"""Declare a parameter of this type to receive them."""

"""Request headers that every dialect understands, since no other server's body has a place for them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header
from pydantic import WithJsonSchema

from trivet.messages import LongInput, Priority

_OWN_SHARE = 0.95
"""Serve's proxy reads the same header, starts earlier and answers in plain text: the application times out first."""


@dataclass(frozen=True, slots=True)
class CallOptions:
    """How the caller wants a request to be answered."""

    timeout_s: float | None = None
    """None: as configured."""
    priority: Priority = "interactive"
    long_input: LongInput = "window"
    no_store: bool = False
    """`Cache-Control: no-store`: neither look results up in the cache nor keep them there."""


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
    cache_control: Annotated[
        list[str] | None,
        Header(description="`no-store`: neither look results up in the cache nor keep them there."),
        WithJsonSchema({"type": "string"}),
    ] = None,
) -> CallOptions:
    timeout_s = None if x_request_timeout_seconds is None else _OWN_SHARE * x_request_timeout_seconds
    return CallOptions(timeout_s, x_trivet_priority, x_trivet_long_input, _refuses_storage(cache_control or ()))


def _refuses_storage(values: Iterable[str]) -> bool:
    directives = (directive.strip().lower() for value in values for directive in value.split(","))
    return "no-store" in directives


Options = Annotated[CallOptions, Depends(_call_options)]
"""Declare a parameter of this type to receive them."""

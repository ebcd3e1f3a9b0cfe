"""Request headers that every dialect understands, since no other server's body has a place for them."""

from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import Header, Request
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from trivet.messages import LongInput, Priority

LINES_MEDIA_TYPE = "application/x-ndjson"
"""Of an answer in lines of JSON."""

_OWN_SHARE = 0.95
"""Serve's proxy reads the same header, starts earlier and answers in plain text: the application times out first."""


def _own_share(timeout_s: float) -> float:
    return _OWN_SHARE * timeout_s


def _refuses_storage(directives: Any) -> Any:
    if not isinstance(directives, str):
        return directives
    return "no-store" in (directive.strip().lower() for directive in directives.split(","))


class CallOptions(BaseModel):
    """How the caller wants a request to be answered. A field's alias is its header."""

    model_config = ConfigDict(frozen=True)

    timeout_s: Annotated[
        Annotated[float, Field(ge=0.001, le=86400, allow_inf_nan=False), AfterValidator(_own_share)] | None,
        Field(alias="x-request-timeout-seconds", description="Give up after this time, with 408."),
        WithJsonSchema({"type": "number", "minimum": 0.001, "maximum": 86400}),  # a header is never null
    ] = None
    """None: as configured."""
    priority: Annotated[
        Priority,
        Field(alias="x-trivet-priority", description="`bulk` lets interactive requests overtake it: for indexing."),
    ] = "interactive"
    long_input: Annotated[
        LongInput,
        Field(
            alias="x-trivet-long-input",
            description="What becomes of a text longer than the model: see the long-input policy.",
        ),
    ] = "window"
    no_store: Annotated[
        bool,
        BeforeValidator(_refuses_storage),
        Field(
            alias="cache-control",
            description="`no-store`: neither look results up in the cache nor keep them there.",
        ),
        WithJsonSchema({"type": "string"}),
    ] = Field(default_factory=bool)  # a default of False would be no string in the OpenAPI document


Options = Annotated[CallOptions, Header()]
"""Declare a parameter of this type to receive them."""

_HEADERS = {str(field.alias).encode(): str(field.alias) for field in CallOptions.model_fields.values()}
_DEFAULT = CallOptions()


def options_of(headers: Iterable[tuple[bytes, bytes]]) -> CallOptions:
    """Read the options among raw headers; ValidationError, located by header, if one has a wrong value."""
    values: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name = _HEADERS.get(raw_name)
        if name is None:
            continue
        value = raw_value.decode("latin-1")
        if name not in values:
            values[name] = value
        elif name == "cache-control":
            values[name] += f",{value}"  # a list, which may be spread over several lines
    return CallOptions.model_validate(values) if values else _DEFAULT


def wants_lines(request: Request) -> bool:
    """Return whether the caller accepts a stream."""
    return any(LINES_MEDIA_TYPE in value for value in request.headers.getlist("accept"))

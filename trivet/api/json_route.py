"""The route class of every router: reads a request, calls the endpoint, words errors in the dialect of the request.

FastAPI reads an endpoint's signature for the OpenAPI document only. Solving the signature as a graph of dependencies on
each request costs more CPU than all the rest of the HTTP side (bench/LOG.md).
"""

import asyncio
import email.message
import json
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, TypeVar, get_type_hints

import numpy as np
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import TypeAdapter, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from typing_extensions import override

from trivet.api.dialect import dialect_of, rules_of
from trivet.api.errors.bodies import error_response
from trivet.api.errors.problem import describe_any
from trivet.api.options import options_of
from trivet.api.scope import CLIENT_CLOSED_REQUEST, DIALECT, ERROR
from trivet.errors import InvalidInput

logger = logging.getLogger(__name__)


PARSED_HERE_BYTES = 64 * 1024
"""Larger bodies are parsed and validated in a thread. Up to here the change of threads would cost more."""
MOST_FIELDS = 256
"""At the top of a body. The largest form has a dozen."""

_LARGE_BODIES = ThreadPoolExecutor(1, thread_name_prefix="large-body")
"""One thread: parsing holds the interpreter's lock, so a second one would take turns from the event loop."""

_QUOTE, _COMMA, _LIST, _OBJECT = b'",[{'

T = TypeVar("T")
Headers = Iterable[tuple[bytes, bytes]]


class JsonRoute(APIRoute):
    """Calls an endpoint with what it declares of `body`, `options` and `request`.

    `body` is of any type that pydantic validates, and read from JSON. `options` is `trivet.api.options.Options`.
    """

    max_elements: int = 32_768
    """JSON values in one body; `trivet.api.app` sets it as configured."""

    def __init__(self, path: str, endpoint: Callable[..., Awaitable[Response]], **settings: Any) -> None:
        super().__init__(path, endpoint, **settings)
        declared = get_type_hints(endpoint, include_extras=True)
        declared.pop("return", None)
        self._body = TypeAdapter[Any](declared["body"]) if "body" in declared else None
        self._is_shared = len(rules_of(path)) > 1
        self._dialect = dialect_of(path)
        self._takes_options = "options" in declared
        self._takes_request = "request" in declared
        if declared.keys() <= {"body", "options", "request"}:
            self.app = self._answer
        # Others have parameters in their path or query. They are few, and FastAPI reads them: see `get_route_handler`.

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[DIALECT] = self._dialect
        content: Any = None
        try:
            if self._body is None:
                arguments = self._arguments(None, scope, receive)
            else:
                body = await _read(receive)
                size_bytes = len(body)
                content = await _parallel_if_large(size_bytes, _parsed, body, scope["headers"], self.max_elements)
                del body  # as large as what was made of it
                arguments = await _parallel_if_large(size_bytes, self._arguments, content, scope, receive)
            response = await self.endpoint(**arguments)
        except ClientDisconnect:
            response = Response(status_code=CLIENT_CLOSED_REQUEST)  # for the log; the caller has left
        except Exception as error:  # noqa: BLE001 - the last resort of every route: worded for the caller, and logged
            response = self._refusal(error, scope, content)
        await response(scope, receive, send)

    def _arguments(self, content: Any, scope: Scope, receive: Receive) -> dict[str, Any]:
        arguments: dict[str, Any] = {}
        if self._takes_options:
            try:
                arguments["options"] = options_of(scope["headers"])
            except ValidationError as error:
                raise _located(error, "header") from None
        if self._body is not None:
            try:
                arguments["body"] = self._body.validate_python(content, from_attributes=True)
            except ValidationError as error:
                raise _located(error, "body") from None
            if self._is_shared:
                scope[DIALECT] = dialect_of(self.path, tuple(content))
        if self._takes_request:
            arguments["request"] = Request(scope, receive)
        return arguments

    @override
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handler(request)
            except Exception as error:  # noqa: BLE001 - see `_answer`
                return self._refusal(error, request.scope, None)

        return answer

    def _refusal(self, error: Exception, scope: Scope, content: Any) -> Response:
        """Word an error in the dialect that the path and the body's fields determine.

        `content` is the parsed body; without one the path alone decides.
        """
        problem = describe_any(error)
        if problem.status >= 500:
            logger.error("%s %s failed", scope["method"], self.path, exc_info=error)
        fields = tuple(content) if isinstance(content, dict) else ()
        scope[DIALECT] = dialect_of(self.path, fields)
        scope[ERROR] = problem.code or problem.kind
        return error_response(problem, self.path, fields)


async def _read(receive: Receive) -> bytes:
    """Read the whole body; ClientDisconnect if the caller disconnects before its end."""
    chunks: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk: bytes = message.get("body", b"")
        if not message.get("more_body", False):
            return b"".join((*chunks, chunk)) if chunks else chunk
        chunks.append(chunk)


async def _parallel_if_large(body_bytes: int, function: Callable[..., T], *arguments: Any) -> T:
    """Call a function for a body: in the thread for large ones, so that the event loop has its turns in between."""
    if body_bytes <= PARSED_HERE_BYTES:
        return function(*arguments)
    return await asyncio.get_running_loop().run_in_executor(_LARGE_BODIES, function, *arguments)


def _parsed(body: bytes, headers: Headers, max_elements: int) -> Any:
    """Parse the body's JSON, whatever its content type; fields of null are left out, as if they had not been sent.

    Clients such as curl state a form's type for JSON. From a page in a browser only JSON's own type is taken. Before it
    sends that type, the browser asks whether the page may (CORS); for a form's type it does not ask.
    """
    if not body:
        raise InvalidInput("the body is empty; send a JSON object", field="body", code="missing")
    content_type = b""
    from_page = False
    for name, value in headers:
        if name == b"content-type":
            content_type = value
        from_page = from_page or name == b"origin"
    is_json = _is_json(content_type)
    if from_page and not is_json:
        raise HTTPException(415, "send JSON from a page with the header content-type: application/json")
    elements = count_elements(body, max_elements)
    if elements > max_elements:
        raise InvalidInput(
            f"the body has {elements} JSON values; the limit is {max_elements} (limits.max_elements). "
            "Send fewer inputs in a request, and texts instead of token ids.",
            field="body",
            code="too_many_elements",
        )
    try:
        content = json.loads(body)  # lenient: validation refuses NaN and lone surrogates, and names their field
    except json.JSONDecodeError as error:
        raise _not_json(f"{error.msg} at character {error.pos}", is_json) from error
    except UnicodeDecodeError as error:
        raise _not_json(f"byte {error.start} is not UTF-8", is_json) from error
    except (ValueError, RecursionError) as error:
        raise _not_json("a number has too many digits, or values are nested too deeply", is_json) from error
    if not isinstance(content, dict):
        return content
    if len(content) > MOST_FIELDS:  # pydantic would list every unknown one
        raise InvalidInput(f"the body has {len(content)} fields; the limit is {MOST_FIELDS}", field="body")
    return {field: value for field, value in content.items() if value is not None}


def _not_json(why: str, is_json: bool) -> InvalidInput:
    hint = "" if is_json else ". Send JSON with the header content-type: application/json"
    return InvalidInput(f"the body cannot be read as JSON: {why}{hint}", field="body", code="json_invalid")


@lru_cache(maxsize=64)
def _is_json(content_type: bytes) -> bool:
    message = email.message.Message()
    message["content-type"] = content_type.decode("latin-1")
    subtype = message.get_content_subtype()
    return message.get_content_maintype() == "application" and (subtype == "json" or subtype.endswith("+json"))


def _located(error: ValidationError, part: str) -> RequestValidationError:
    """Locate pydantic's errors in a part of the request."""
    details = error.errors(include_url=False, include_input=False)
    return RequestValidationError([{**detail, "loc": (part, *detail["loc"])} for detail in details])


def count_elements(body: bytes, enough: int) -> int:
    """Return the number of values in a JSON text without parsing it, members of objects counted once.

    Parsing costs memory and time by the number of values, not of bytes: 8 MB of nulls become a list of two million,
    8 MB of one text become one string. `json.loads` holds the interpreter's lock all the while.

    The result is exact only above `enough`; otherwise it is a number up to `enough` that is not less than the exact
    one. Bytes that are not JSON give some number.
    """
    if len(body) // 2 < enough:  # a value and its comma are two bytes
        return len(body) // 2 + 1
    most = body.count(b",") + body.count(b"[") + body.count(b"{") + 1
    return most if most <= enough else _outside_strings(body)


def _outside_strings(body: bytes) -> int:
    without_escapes = body.replace(rb"\\", b"").replace(rb"\"", b"")
    read = np.frombuffer(without_escapes, dtype=np.uint8)
    in_string = np.cumsum(read == _QUOTE, dtype=np.uint8) & 1  # the sum overflows, and its parity stays
    begins = (read == _COMMA) | (read == _LIST) | (read == _OBJECT)
    return int(np.count_nonzero(begins & (in_string == 0))) + 1

"""A server of `/v1/graph` whose lines a test writes."""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from trivet.client import AsyncClient, Retries

Line = dict[str, Any]


def edge(source: str, target: str, relation: str = "dependency", confidence: float = 0.9, **fields: Any) -> Line:
    span = {"start": 0, "end": 4, "start_line": 1, "end_line": 2, "text": f"text of {source}"}
    other = {**span, "text": f"text of {target}"}
    evidence = {"source": span, "target": other, "relation": relation, "confidence": confidence, "relevance": 0.5}
    return {
        "event": "edge",
        "source": source,
        "target": target,
        "relation": relation,
        "directed": True,
        "confidence": confidence,
        "relevance": 0.5,
        "evidence": [evidence],
        **fields,
    }


def done(id_: str) -> Line:
    return {"event": "document_done", "id": id_}


SUMMARY: Line = {"event": "summary", "documents": 3, "edges": 1, "tokens": 10}
OVERLOADED: Line = {"event": "error", "error": {"message": "full", "type": "overloaded_error", "code": "overloaded"}}


class GraphServer:
    """Answers the first request with the first lines, and so on; records the bodies."""

    def __init__(self, *answers: Sequence[Line] | Response) -> None:
        self.answers = list(answers)
        self.bodies: list[dict[str, Any]] = []
        self.app = Starlette(routes=[Route("/v1/graph", self._answer, methods=["POST"])])

    async def _answer(self, request: Request) -> Response:
        self.bodies.append(json.loads(await request.body()))
        answer = self.answers.pop(0)
        if isinstance(answer, Response):
            return answer

        async def lines() -> AsyncIterator[bytes]:
            for line in answer:
                yield json.dumps(line).encode() + b"\n"

        return StreamingResponse(lines(), media_type="application/x-ndjson")

    def client(self) -> AsyncClient:
        transport = httpx.ASGITransport(self.app)
        return AsyncClient("http://server", transport=transport, retries=Retries(attempts=1))


def refusal(status: int, message: str) -> Response:
    body = {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}
    return JSONResponse(body, status)


Make = Callable[..., GraphServer]

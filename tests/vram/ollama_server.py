"""A fake Ollama server with the two calls that Trivet uses: list the loaded models, and unload one."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

GIB = 1024**3


class OllamaServer(ThreadingHTTPServer):
    """Lists loaded models as Ollama does; a request with `keep_alive: 0` and no prompt unloads one."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.loaded: dict[str, dict[str, Any]] = {}
        self.broken_body: bytes | None = None

    def load(self, name: str, vram_bytes: int, expires_at: str) -> None:
        self.loaded[name] = {
            "name": name,
            "model": name,
            "size": vram_bytes + GIB,
            "digest": "2ae6f6dd7a3d",
            "details": {"format": "gguf", "family": "llama", "parameter_size": "7.2B", "quantization_level": "Q4_0"},
            "expires_at": expires_at,
            "size_vram": vram_bytes,
        }

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: OllamaServer

    def do_GET(self) -> None:
        if self.path == "/api/ps":
            self.answer(200, {"models": list(self.server.loaded.values())})
        else:
            self.answer(404, {"error": "not found"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/api/generate" or "prompt" in body or body.get("keep_alive") != 0:
            self.answer(400, {"error": "this server only unloads"})
        elif body["model"] not in self.server.loaded:
            self.answer(404, {"error": f"model '{body['model']}' not found"})
        else:
            del self.server.loaded[body["model"]]
            self.answer(200, {"model": body["model"], "response": "", "done": True, "done_reason": "unload"})

    def answer(self, status: int, value: dict[str, Any]) -> None:
        body = self.server.broken_body if self.server.broken_body is not None else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Tests read no access log."""

"""`trivet mcp`: offers the models as tools to a coding agent."""

import asyncio
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from trivet.cli.calling import Key, Timeout, Url, fail
from trivet.client import AsyncClient

LOOPBACK = "127.0.0.1"
DEFAULT_CALL_TIMEOUT_S = 120.0


def mcp_command(
    transport: Annotated[
        Literal["stdio", "http"],
        typer.Option(help="stdio: the agent starts this command. http: the agent connects to it."),
    ] = "stdio",
    root: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            file_okay=False,
            resolve_path=True,
            help="A folder: also offer search, related and graph, which read its files. Nothing outside it is read.",
        ),
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port for http, on 127.0.0.1, path /mcp.")] = 8765,
    url: Url = None,
    key: Key = None,
    timeout_s: Timeout = DEFAULT_CALL_TIMEOUT_S,
) -> None:
    """Offer embed, rerank, classify and relate, and with --root search, related and graph, to a coding agent (MCP)."""
    console = Console(stderr=True)
    try:
        from trivet.mcp.server import serve_http, serve_stdio
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "mcp":
            raise
        fail(console, "the package `mcp` is not installed: pip install 'trivet[mcp]'")
    try:
        client = AsyncClient(url, key=key, timeout_s=timeout_s)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    # The protocol uses stdout, so messages go to stderr.
    work = serve_stdio(client, root) if transport == "stdio" else serve_http(client, root, LOOPBACK, port)
    try:
        asyncio.run(work)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None

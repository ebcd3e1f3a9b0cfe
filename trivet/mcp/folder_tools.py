"""Registers the tools that read the folder that the server was started for."""

import asyncio
import time
from collections.abc import Awaitable
from typing import Annotated, Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import Field

from trivet.errors import TrivetError
from trivet.mcp.folder import Folder

INSTRUCTIONS = (
    "Use `search` first to find code and notes by meaning in the project folder, instead of reading whole files; "
    "`related` finds files like one that you know, and `graph` how some files depend on, extend or contradict each "
    "other. They read the files themselves and answer with path:lines."
)

READ_ONLY = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)
_Limit = Annotated[int, Field(ge=1, le=20, description="Maximum number of results.")]


def add_folder_tools(server: MCPServer[Any], folder: Folder) -> None:
    """Offer `search`, `related` and `graph` over a folder."""

    @server.tool(title="Search the folder", annotations=READ_ONLY, structured_output=False)
    async def search(
        query: Annotated[str, Field(min_length=1, description="A question or topic, such as 'where are retries set'.")],
        path: Annotated[
            str | None,
            Field(description="Only files that this pattern matches, as in .gitignore: `docs/`, `*.py`, `src/**/api`."),
        ] = None,
        limit: _Limit = 6,
    ) -> str:
        """Find the passages of the folder's code and notes that answer a question: path:lines, relevance, text."""
        return await _answer(folder.search(query, path, limit))

    @server.tool(title="Find files like one", annotations=READ_ONLY, structured_output=False)
    async def related(
        path: Annotated[str, Field(min_length=1, description="A file, relative to the folder.")],
        limit: _Limit = 6,
    ) -> str:
        """Find the files most similar to a file, each with the passage that is alike."""
        return await _answer(folder.related(path, limit))

    @server.tool(title="Relate files", annotations=READ_ONLY, structured_output=False)
    async def graph(
        paths: Annotated[
            list[Annotated[str, Field(min_length=1)]],
            Field(min_length=1, description="Files, folders or patterns as in .gitignore, relative to the folder."),
        ],
        context: Context[Any, Any],
    ) -> str:
        """Find how files depend on, expand on or contradict each other: path:lines -> path:lines relation confidence.

        A relation is computed for each pair of related passages; some hundred files take minutes, so give few.
        """
        progress = _Progress(context)
        try:
            return await _answer(folder.graph(paths, progress.note))
        finally:
            await progress.close()


async def _answer(work: Awaitable[str]) -> str:
    try:
        return await work
    except (TrivetError, OSError) as error:
        raise ToolError(str(error)) from error


class _Progress:
    """Passes progress on to the agent, at most once a second; agents extend their deadlines by it."""

    def __init__(self, context: Context[Any, Any]) -> None:
        self._context = context
        self._sent_s = 0.0
        self._count = 0
        self._sending: asyncio.Task[None] | None = None

    def note(self, stage: str, done: int, total: int) -> None:
        """Send the progress, unless the last one was sent just before."""
        now_s = time.monotonic()
        if now_s - self._sent_s < 1 or (self._sending is not None and not self._sending.done()):
            return
        self._sent_s = now_s
        self._count += 1
        message = f"{stage}: {done} of {total}"
        self._sending = asyncio.create_task(self._context.report_progress(self._count, None, message))

    async def close(self) -> None:
        """Wait for the last one."""
        if self._sending is not None:
            await self._sending

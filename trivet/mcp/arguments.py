"""Says in a sentence which argument of a tool is wrong, where the library would pass pydantic's report on."""

from typing import Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import CallToolResult, InputRequiredResult
from pydantic import ValidationError

from trivet.wording import field_path, worded


class PlainlySpokenServer(MCPServer[Any]):
    """An MCP server whose refusals name the argument and what to send."""

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        """Call a tool; ToolError: the arguments are wrong, or the call failed."""
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as error:
            if isinstance(error.__cause__, ValidationError):
                raise ToolError(_refusal(error.__cause__)) from error
            raise


def _refusal(error: ValidationError) -> str:
    sentences: dict[str, str] = {}
    for detail in error.errors(include_url=False, include_input=False):
        field = field_path(detail["loc"]) or "arguments"
        sentences.setdefault(field, f"{field}: {worded(detail['type'], detail.get('ctx', {}), detail['msg'])}")
    return "; ".join(list(sentences.values())[:_MOST_SENTENCES])


_MOST_SENTENCES = 5

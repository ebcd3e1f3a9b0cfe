"""Arguments that tools share, and a sentence for a wrong one where the library would pass pydantic's report on."""

from typing import Annotated, Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import CallToolResult, InputRequiredResult
from pydantic import Field, ValidationError

from trivet.index import shown
from trivet.wording import field_and_sentence

Instruction = Annotated[
    str | None,
    Field(
        min_length=1,
        description=(
            "What queries search for, such as 'Given a bug report, find the code that causes it'. Only for embedders "
            "whose prompt says that; others refuse it."
        ),
    ),
]


class PlainlySpokenServer(MCPServer[Any]):
    """An MCP server whose refusals name the argument and what to send."""

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        """Call a tool; ToolError: the arguments are wrong, or the call failed."""
        await self._check_names(name, arguments)
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as error:
            if isinstance(error.__cause__, ValidationError):
                raise ToolError(_refusal(error.__cause__)) from error
            raise

    async def _check_names(self, name: str, arguments: dict[str, Any]) -> None:
        """Refuse what is not an argument: the library would ignore a misspelled `path`, and everything be searched."""
        for tool in await self.list_tools():
            known = tool.input_schema.get("properties", {})
            unknown = arguments.keys() - known.keys()
            if tool.name == name and unknown:
                first = shown(min(unknown)[:80])
                raise ToolError(f"{first}: is not an argument of {name}, which takes {', '.join(known)}")


def _refusal(error: ValidationError) -> str:
    sentences: dict[str, str] = {}
    for detail in error.errors(include_url=False, include_input=False):
        field, sentence = field_and_sentence(
            detail["type"], detail["loc"], detail.get("ctx", {}), detail["msg"], whole="arguments"
        )
        sentences.setdefault(field, sentence)
    return "; ".join(list(sentences.values())[:_MOST_SENTENCES])


_MOST_SENTENCES = 5

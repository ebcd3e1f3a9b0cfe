"""The MCP (Model Context Protocol) server for coding agents."""

"""A tool as MCP clients see it, and its form on the wire of each protocol version. Not who may list it.

Nothing here depends on the caller, so each form is made once: a list of tools is put together from
finished parts, which nobody may change.
"""

from __future__ import annotations

from functools import cache
from typing import Any, cast

import mcp_types as types
from mcp_types import methods

from tools.spec import ToolSpec

LIST = "tools/list"


@cache
def published(tool: ToolSpec) -> types.Tool:
    """The tool in the protocol's own words, whatever the version."""
    return types.Tool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=tool.input_schema(),
        output_schema=tool.output_schema(),
        annotations=types.ToolAnnotations(
            title=tool.title,
            read_only_hint=tool.risk == "read",
            destructive_hint=tool.risk == "destructive",
            idempotent_hint=True,
            open_world_hint=False,
        ),
    )


@cache
def wire_form(tool: ToolSpec, version: str) -> dict[str, Any]:
    """What a client of that protocol version reads of the tool; proved to fit the version's schema."""
    whole = types.ListToolsResult(tools=[published(tool)])
    dumped = whole.model_dump(by_alias=True, mode="json", exclude_none=True)
    shaped = methods.serialize_server_result(LIST, version, dumped)
    return cast("dict[str, Any]", shaped["tools"][0])

# /// script
# requires-python = ">=3.11"
# dependencies = ["fastmcp==4.1.2", "uvloop>=0.22", "httptools>=0.6"]
# ///
"""Bare fastmcp over the same rows, with no policy, no audit and no caller."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import mcp_types as types
from fastmcp import FastMCP
from fastmcp.tools import Tool
from reads import Rows, listed


def make(folder: Path) -> FastMCP[Any]:
    """The server over one folder of rows; what it does not serve it only lists."""
    rows = Rows(folder)
    # What it does to schemas by default, on each list, is most of a list's cost; nobody else does it.
    server: FastMCP[Any] = FastMCP("bare", dereference_schemas=False)

    def tenant_get(tenant: str) -> dict[str, Any]:
        return {"outcome": "done", "result": rows.tenant(tenant)}

    def record_query(tenant: str, collection: str, limit: int = 20) -> dict[str, Any]:
        return {"outcome": "done", "result": rows.page(tenant)}

    def record_create(
        tenant: str, collection: str, values: dict[str, Any], idempotency_key: str
    ) -> dict[str, Any]:
        return {"outcome": "done", "result": rows.add(tenant, values)}

    served = {one.__name__: one for one in (tenant_get, record_query, record_create)}
    for tool in listed(folder):
        name = tool["name"]
        serves = served.get(name, tenant_get)
        made = Tool.from_function(serves, name=name, description=tool["description"])
        if name not in served:
            # Whoever is only listed is listed word for word.
            told = {
                "title": tool["title"],
                "parameters": tool["input_schema"],
                "output_schema": tool["output_schema"],
                "annotations": types.ToolAnnotations(**tool["annotations"]),
            }
            made = made.model_copy(update=told)
        server.add_tool(made)
    return server


def main(transport: str, folder: str, port: str = "0") -> None:
    """`stdio FOLDER` or `http FOLDER PORT`."""
    server = make(Path(folder))
    if transport == "stdio":
        server.run(show_banner=False)
        return
    server.run(
        transport="http",
        port=int(port),
        path="/mcp",
        show_banner=False,
        json_response=True,
        stateless_http=True,
        log_level="WARNING",
        uvicorn_config={"http": "httptools", "loop": "uvloop", "access_log": False},
    )


if __name__ == "__main__":
    main(*sys.argv[1:])

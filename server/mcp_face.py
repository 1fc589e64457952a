"""The MCP face, on the SDK's low-level server: lists and calls tools. Transports and decisions are elsewhere."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Mapping
from typing import Any, Final

import mcp_types as types
from mcp import MCPError
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.models import InitializationOptions

from control_plane.domain.outcome import Outcome
from graphs.errors import Unlisted
from server.dispatch import DeadlineExceeded, Hop
from server.front import Answer, Front
from server.published_tools import LIST, published, wire_form
from server.run_following import RunFollowing
from tools.spec import ToolSpec

_LOG = logging.getLogger("paybill.face")
# From this version on a client that wants to be told opens a stream for it, which none is offered.
_LISTENS_SINCE: Final = "2026-07-28"

INSTRUCTIONS = (
    "Paybill runs a multi-tenant SaaS. Every call is decided by policy and recorded. A call that "
    "answers 'running' goes on in the worker: follow it with run_get. 'awaiting_approval' means "
    "that a human must approve at a terminal; you cannot. An idempotency_key is yours to choose, "
    "one for each intended change: repeat a call with the same key rather than with a new one."
)
LATE_CHANGE = Outcome(
    outcome="unknown",
    code="deadline",
    message="The call did not answer in time. Repeat it with the same idempotency_key.",
)
LATE_READ = Outcome(
    outcome="failed", code="deadline", message="The call did not answer in time.", retryable=True
)


class McpFace:
    """Turns protocol requests into calls of the front, and answers into protocol results."""

    def __init__(
        self, front: Front, dispatch: Hop, version: str, *, announces: bool = False
    ) -> None:
        """With ``announces``, for one client on a connection that it may be told something over."""
        self._front = front
        self._dispatch = dispatch
        self._announces = announces
        self._following = RunFollowing(front, dispatch)
        self._listed_by = ""
        self.server: Server[Any] = Server(
            "paybill",
            version=version,
            title="Paybill",
            instructions=INSTRUCTIONS,
            get_tool_input_schema=self._input_schema,
            on_list_tools=_empty_list,
            on_call_tool=self._call_tool,
        )
        # Behind the SDK's own: what it makes of an empty list is filled with finished tools.
        self.server.middleware.append(self._fill_list)

    def options(self) -> InitializationOptions:
        """What a connection begins with."""
        told = NotificationOptions(tools_changed=self._announces)
        return self.server.create_initialization_options(told)

    def _input_schema(self, name: str) -> Mapping[str, Any] | None:
        # Read before any decision: it tells nothing, since no tool here routes by header.
        tool = self._front.tools.get(name)
        return None if tool is None else published(tool).input_schema

    async def _fill_list(
        self, ctx: ServerRequestContext[Any, Any], call_next: CallNext
    ) -> HandlerResult:
        result = await call_next(ctx)
        if ctx.method != LIST or not isinstance(result, dict):
            return result
        tools = await self._listed()
        self._listed_by = self._front.catalog
        return {**result, "tools": [wire_form(tool, ctx.protocol_version) for tool in tools]}

    async def _listed(self) -> list[ToolSpec]:
        try:
            return await self._dispatch.run(self._front.listed)
        except DeadlineExceeded:
            return []
        except Exception as error:  # noqa: BLE001 - whatever it is, its text stays here
            raise _fault(error) from None

    async def _call_tool(
        self, ctx: ServerRequestContext[Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        await self._announce(ctx)
        try:
            answer = await self._answer(ctx, params.name, params.arguments or {})
        except Unlisted:
            # The same bytes for a tool that nobody has and for one that this caller may not list.
            raise MCPError(types.INVALID_PARAMS, "Unknown tool") from None
        except DeadlineExceeded:
            tool = self._front.tools.get(params.name)
            changing = tool is not None and tool.changing
            answer = Answer(outcome=LATE_CHANGE if changing else LATE_READ)
        except Exception as error:  # noqa: BLE001 - whatever it is, its text stays here
            raise _fault(error) from None
        return _result(answer)

    async def _answer(
        self, ctx: ServerRequestContext[Any], name: str, arguments: dict[str, Any]
    ) -> Answer:
        answer = await self._dispatch.run(self._front.call, name, arguments)
        # A client that gave no token, or that nothing can be told over its transport, asks for itself.
        if not self._announces or "progress_token" not in (ctx.meta or {}):
            return answer

        async def report(position: float, message: str) -> None:
            await ctx.session.report_progress(position, None, message)

        return await self._following.follow(name, arguments, answer, report)

    async def _announce(self, ctx: ServerRequestContext[Any]) -> None:
        """Tell a client of the older era that its list is of a catalog that is not in force any more."""
        if not self._announces or ctx.protocol_version >= _LISTENS_SINCE:
            return
        if self._listed_by not in ("", self._front.catalog):
            self._listed_by = ""
            await ctx.session.send_tool_list_changed()


def _fault(error: Exception) -> MCPError:
    # A fault of ours. Its text may hold a value, so not even the log gets it: only kind and place.
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "an unknown place"
    _LOG.error("a fault: %s at %s", type(error).__name__, place)
    return MCPError(types.INTERNAL_ERROR, "Internal error")


async def _empty_list(
    _ctx: ServerRequestContext[Any], _params: types.PaginatedRequestParams | None
) -> types.ListToolsResult:
    # The SDK reads the request and makes the envelope; dumping and proving the tools themselves on
    # each call would be most of a list's cost.
    return types.ListToolsResult(tools=[], cache_scope="private")


def _result(answer: Answer) -> types.CallToolResult:
    if answer.outcome is None:
        text = types.TextContent(type="text", text=answer.bad_input or "bad input")
        return types.CallToolResult(content=[text], is_error=True)
    structured = answer.outcome.answer()
    text = types.TextContent(type="text", text=json.dumps(structured, ensure_ascii=False))
    return types.CallToolResult(
        content=[text],
        structured_content=structured,
        _meta={"paybill/replayed": True} if answer.outcome.replayed else None,
    )

# /// script
# requires-python = ">=3.11"
# dependencies = ["langgraph>=1.2,<2", "langchain-mcp-adapters>=0.3,<0.4"]
# ///
"""A LangGraph application that has Paybill bring a tenant into being, over MCP. It imports nothing of Paybill.

It has an environment of its own, which uv makes from the lines above:

    uv run --script examples/langgraph_app.py --workspace shop --token-file agent.token --tenant acme

or, against `paybill serve --http`, with a token that was issued for that server:

    uv run --script examples/langgraph_app.py --url https://paybill.example.com/mcp \
        --token-file agent.token --tenant acme

Exit codes: 0 done; 1 not done; 2 wrong usage; 3 a human must answer first; 4 still running.
The last line of stdout is JSON that says what happened; everything else goes to stderr.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any, Literal, TypedDict

from langchain_mcp_adapters.client import MultiServerMCPClient
from langgraph.graph import END, START, StateGraph

SERVER = "paybill"
POLL_S = 0.5
NODES_MAX = 25
EXIT_CODES = {"done": 0, "awaiting_approval": 3, "running": 4}
# A run in one of these moves on by itself; in any other it rests, and asking again is of no use.
MOVING = frozenset(
    {
        "pending",
        "planning",
        "planned",
        "policy_checking",
        "approved",
        "applying",
        "verifying",
        "errored",
        "compensating",
        "unknown",
        "reconciling",
    }
)
Step = Literal["propose", "follow", "wait_for_human", "report"]


class State(TypedDict, total=False):
    """What the graph knows: Paybill's last answer, the run that it follows, and what it did so far."""

    answer: dict[str, Any]
    run: dict[str, Any]
    proposals: int
    asked_human: bool


class Onboarding:
    """The nodes of the graph and the one session that they share."""

    def __init__(self, session: Any, asked: argparse.Namespace) -> None:
        """Keep the session, which stays open from the first node to the last."""
        self._session = session
        self._asked = asked
        self._ends_at = time.monotonic() + asked.wait_s
        self._human_until = 0.0

    async def propose(self, state: State) -> State:
        """Ask for the tenant. With the same key it is the same call: then it only tells how it stands."""
        # A model would choose these arguments, and which tool to call. It would be given the tools
        # of this very session (`await load_mcp_tools(session)`), and the rest of the graph would
        # stay as it is: what may happen is decided by Paybill, and what to do next by `decide`.
        answer = await self._call(
            "tenant_onboard",
            tenant=self._asked.tenant,
            display_name=self._asked.display_name or self._asked.tenant,
            plan=self._asked.plan,
            isolation=self._asked.isolation,
            region=self._asked.region,
            idempotency_key=self._asked.key or f"langgraph-{self._asked.tenant}",
        )
        tell(f"proposed: {answer['outcome']}")
        return {"answer": answer, "proposals": state.get("proposals", 0) + 1}

    async def follow(self, state: State) -> State:
        """Look at the run until it rests, or our time is over."""
        while True:
            seen = await self._call("run_get", run_id=state["answer"]["run_id"])
            # A run that holds the tenant may be somebody else's, and not ours to read.
            run = seen.get("result") or {"run_id": state["answer"]["run_id"], "state": "hidden"}
            if run["state"] not in MOVING or time.monotonic() >= self._ends_at:
                tell(f"run {run['run_id']}: {run['state']}")
                return {"run": run}
            await asyncio.sleep(POLL_S)

    async def wait_for_human(self, state: State) -> State:
        """Tell the human what to type, and look for a while whether they did. No agent can."""
        run, wait_s = state["run"], self._asked.approval_wait_s
        if not state.get("asked_human"):
            self._human_until = time.monotonic() + wait_s
            workspace = f"--workspace {self._asked.workspace} " if self._asked.workspace else ""
            tell(f"a human must read and answer the plan {str(run['plan_digest'])[:8]}. Type:")
            tell(f"  paybill {workspace}approvals approve {run['approval_id']} --token-file YOURS")
        while time.monotonic() < self._human_until:
            await asyncio.sleep(POLL_S)
            seen = await self._call("run_get", run_id=run["run_id"])
            run = seen.get("result") or run
            if run["state"] != "awaiting_approval":
                # What a human took is not taken from the time that the run may take.
                self._ends_at = time.monotonic() + self._asked.wait_s
                break
        return {"run": run, "asked_human": True}

    async def _call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        result = await self._session.call_tool(tool, arguments)
        if result.isError or result.structuredContent is None:
            text = " ".join(getattr(one, "text", "") for one in result.content)
            return {"outcome": "bad_input", "message": text}
        return dict(result.structuredContent)


def decide(state: State) -> Step:
    """What to do next. A plain function: nothing here is left to a model."""
    answer, run = state["answer"], state.get("run")
    if run is None:
        # A refusal is reported and never tried again: the same question has the same answer.
        held = answer["outcome"] in ("running", "awaiting_approval", "conflict", "unknown")
        return "follow" if held and answer.get("run_id") else "report"
    if run["state"] == "awaiting_approval":
        return "report" if state.get("asked_human") else "wait_for_human"
    if run["state"] in MOVING:
        # After a human's answer the run is followed again; otherwise our time is over.
        return "follow" if state.get("asked_human") and state["proposals"] == 1 else "report"
    # The run rests. Was it ours, the same call tells its outcome.
    ours = answer["outcome"] != "conflict"
    return "propose" if ours and state["proposals"] == 1 else "report"


def after_follow(state: State) -> Step:
    """As `decide`, but what was followed to the end of our time is not followed again."""
    found = decide(state)
    return "report" if found == "follow" else found


def after_propose(state: State) -> Step:
    """As `decide`; the second proposal only asked for the outcome."""
    return decide(state) if state["proposals"] == 1 else "report"


def graph_of(onboarding: Onboarding) -> Any:
    """The graph, compiled."""
    graph = StateGraph(State)
    graph.add_node("propose", onboarding.propose)
    graph.add_node("follow", onboarding.follow)
    graph.add_node("wait_for_human", onboarding.wait_for_human)
    graph.add_node("report", lambda _: {})
    graph.add_edge(START, "propose")
    graph.add_conditional_edges("propose", after_propose, ["follow", "report"])
    graph.add_conditional_edges("follow", after_follow, ["propose", "wait_for_human", "report"])
    graph.add_conditional_edges("wait_for_human", decide, ["propose", "follow", "report"])
    graph.add_edge("report", END)
    return graph.compile()


def outcome_of(state: State, tenant: str) -> dict[str, Any]:
    """What happened, for a program to read."""
    answer, run = state["answer"], state.get("run")
    told = {"tenant": tenant, **answer}
    told.pop("result", None)
    if run is not None:
        told["run"] = {name: run.get(name) for name in ("run_id", "state", "reason")}
        told["approval_id"] = run.get("approval_id") or told.get("approval_id")
        if answer["outcome"] == "running" and run["state"] == "awaiting_approval":
            told["outcome"] = "awaiting_approval"
    return {name: value for name, value in told.items() if value is not None}


def connection(asked: argparse.Namespace) -> dict[str, Any]:
    """How Paybill is reached: a program that this one starts, or a URL."""
    if asked.url:
        token = asked.token_file.read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        return {"transport": "streamable_http", "url": asked.url, "headers": headers}
    program = shutil.which(asked.paybill)
    if program is None:
        raise SystemExit("langgraph_app: there is no program paybill; name it with --paybill")
    place = ["--workspace", str(asked.workspace.absolute())] if asked.workspace else []
    arguments = [*place, "serve", "--token-file", str(asked.token_file.absolute())]
    # Paybill's own settings go along; the token travels as a file.
    told = {k: v for k, v in os.environ.items() if k.startswith("PAYBILL_") and "TOKEN" not in k}
    return {
        "transport": "stdio",
        "command": program,
        "args": arguments,
        "env": {"PATH": os.environ["PATH"], "HOME": str(Path.home()), **told},
    }


async def run(asked: argparse.Namespace) -> int:
    """Bring the tenant into being, as far as that goes; the exit code."""
    client = MultiServerMCPClient({SERVER: connection(asked)})
    # One session for all: without it every call would start a server of its own.
    async with client.session(SERVER) as session:
        graph = graph_of(Onboarding(session, asked))
        state = await graph.ainvoke({}, {"recursion_limit": NODES_MAX})
    told = outcome_of(state, asked.tenant)
    sys.stdout.write(json.dumps(told) + "\n")
    return EXIT_CODES.get(told["outcome"], 1)


def tell(line: str) -> None:
    """Tell the human."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def arguments() -> argparse.Namespace:
    """What was typed."""
    parser = argparse.ArgumentParser(description="Bring a tenant into being.")
    parser.add_argument("--tenant", required=True, help="its id; a slug within the grant")
    parser.add_argument("--display-name", help="the name that people read; else the id")
    parser.add_argument("--plan", default="free")
    parser.add_argument("--isolation", default="pooled")
    parser.add_argument("--region", default="local")
    parser.add_argument("--key", help="the idempotency key; else one for each tenant")
    parser.add_argument("--token-file", type=Path, required=True)
    parser.add_argument("--workspace", type=Path, help="else the nearest one above")
    parser.add_argument("--paybill", default="paybill", help="the program, where it is not on PATH")
    parser.add_argument("--url", help="of a server over HTTP, in place of a program")
    parser.add_argument("--wait-s", type=float, default=120.0, help="how long to follow a run")
    parser.add_argument("--approval-wait-s", type=float, default=0.0, help="for a human's answer")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(asyncio.run(run(arguments())))

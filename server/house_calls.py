"""The port Proposer: what the house asks for becomes a call like any other. Knows no reason to ask, and decides nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from control_plane.domain.canonical import keyed_digest
from control_plane.domain.house import BILLING_HOUSE
from control_plane.domain.outcome import Outcome
from control_plane.handlers.handler import Ports
from control_plane.ports import Proposal
from graphs.passage import Asked, Passage
from tools.spec import ToolSpec

if TYPE_CHECKING:
    from graphs.runner import Runner


class HouseCalls:
    """Over the worker's own machines, by the catalog that it works by."""

    def __init__(
        self, ports: Ports, runner: Runner, bundle: str, tools: Mapping[str, ToolSpec]
    ) -> None:
        self._ports = ports
        self._runner = runner
        self._bundle = bundle
        self._tools = tools

    def propose(self, proposal: Proposal) -> Outcome:
        """Ask for the run. Raises CatalogMoved where another catalog is in force by now."""
        tool = self._tools[proposal.tool]
        told = {"tool": tool.name, "command": proposal.command.model_dump(mode="json")}
        asked = Asked(
            caller=BILLING_HOUSE,
            tool=tool.name,
            tool_facts=tool.facts,
            command=proposal.command,
            arguments_hmac=keyed_digest(self._ports.hmac_key, told),
            idempotency_key=proposal.key,
            cause=proposal.cause,
        )
        record = asked.recorded(
            seed=self._ports.ids.seed(),
            now=self._ports.clock.now(),
            catalog=self._ports.catalog.digest,
            bundle=self._bundle,
        )
        return self._runner.call(tool.machine, Passage(asked, record))

"""One call, from raw arguments to an answer: who is it, parse, machine. Knows no transport and no tool by name."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

from control_plane.domain.call import Call
from control_plane.domain.caller import Caller
from control_plane.domain.canonical import Json, keyed_digest
from control_plane.domain.outcome import Outcome
from control_plane.engine.failpoints import Failpoints
from control_plane.errors import BadInput, PaybillError, Refused
from control_plane.facts.tool import ToolFacts
from control_plane.handlers.catalog_in_force import CatalogMoved
from graphs.errors import Unlisted
from graphs.outcomes import of_error
from graphs.passage import Asked, Passage
from policies.errors import GateUnavailable
from server.generations import Generation, Present
from server.in_flight import InFlight
from server.settings import Limits
from server.tokens import Unauthenticated
from tools.lifts import LIFTS
from tools.parsing import parse_arguments
from tools.spec import ToolSpec

# A catalog is applied by a human's hand: twice within one call is more than there will be.
_MOVES_MAX: Final = 3
_PARTED: Final = (dict, list)


@dataclass(frozen=True)
class Answer:
    """What a face sends back: an outcome, or the text of an error in the input."""

    outcome: Outcome | None = None
    bad_input: str | None = None


class Front:
    """What every face asks. Synchronous; each call is on one thread from start to end."""

    def __init__(
        self,
        *,
        present: Present,
        identify: Callable[[], Caller],
        limits: Limits,
        failpoints: Failpoints,
        in_flight: InFlight | None = None,
    ) -> None:
        self._present = present
        self._identify = identify
        self._limits = limits
        self._failpoints = failpoints
        self._in_flight = in_flight or InFlight(limits.calls_in_flight_max)

    @property
    def tools(self) -> Mapping[str, ToolSpec]:
        """The tools of the catalog in force, whoever may list them."""
        return self._present.current().tools

    @property
    def catalog(self) -> str:
        """The digest of the catalog that calls are answered by now."""
        return self._present.current().ports.catalog.digest

    def listed(self) -> list[ToolSpec]:
        """The tools of this caller; none without a valid token or a policy engine that answers."""
        try:
            caller = self._identify()
            now = self._present.current()
            names = now.keeper.listed(caller, now.tool_facts)
        except PaybillError:
            return []
        return [tool for name, tool in now.tools.items() if name in names]

    def call(self, name: str, raw: Mapping[str, Any]) -> Answer:
        """Answer one call. Unlisted: the tool does not exist, or not for this caller."""
        try:
            caller = self._identify()
            with self._in_flight.slot(caller):
                return self._decided(caller, name, raw)
        except Unauthenticated as error:
            return Answer(outcome=Outcome(outcome="refused", message=str(error), code=error.told))
        except PaybillError as error:
            return Answer(outcome=of_error(error))

    def _decided(self, caller: Caller, name: str, raw: Mapping[str, Any]) -> Answer:
        now = self._present.current()
        for _ in range(_MOVES_MAX):
            try:
                return self._admitted(now, caller, name, raw)
            except CatalogMoved:
                # Another catalog was put in force while this call was decided by the one before.
                # Nothing was done: the new one decides it from the top.
                now = self._present.after(now)
        raise CatalogMoved

    def _admitted(
        self, now: Generation, caller: Caller, name: str, raw: Mapping[str, Any]
    ) -> Answer:
        tool = now.tools.get(name)
        if tool is None:
            # Asked all the same: an engine that does not answer must not tell which tools exist.
            now.keeper.admit(caller, "unknown", ToolFacts(risk="read", domain="unknown"))
            raise Unlisted
        try:
            arguments = parse_arguments(tool, raw, self._bounded(raw))
        except BadInput as error:
            # Held until the tool itself is decided: what is wrong with the arguments of an
            # unlisted tool would tell that it exists.
            now.keeper.admit(caller, tool.name, tool.facts)
            return Answer(bad_input=str(error))
        given = arguments.model_dump(mode="json")
        asked = Asked(
            caller=caller,
            tool=tool.name,
            tool_facts=tool.facts,
            command=tool.to_command(arguments),
            arguments_hmac=keyed_digest(
                now.ports.hmac_key, {k: v for k, v in given.items() if k != "idempotency_key"}
            ),
            idempotency_key=given.get("idempotency_key"),
            dry_run=bool(given.get("dry_run", False)),
        )
        return self._through(now, tool, asked)

    def _through(self, now: Generation, tool: ToolSpec, asked: Asked) -> Answer:
        self._failpoints.reach("face.decided")
        try:
            outcome = now.runner().call(tool.machine, Passage(asked, self._record(now, asked)))
        except BadInput as error:
            return Answer(bad_input=str(error))
        self._failpoints.reach("face.committed")
        return Answer(
            outcome=self._fitting(tool, self._with_next(now, tool, asked.caller, outcome))
        )

    def _with_next(
        self, now: Generation, tool: ToolSpec, caller: Caller, outcome: Outcome
    ) -> Outcome:
        wanted = tuple(dict.fromkeys((*LIFTS.get(outcome.code or "", ()), *tool.next_tools)))
        if outcome.outcome not in ("refused", "conflict") or not wanted:
            return outcome
        if outcome.code == GateUnavailable.code:
            # Another question would only make the caller wait as long again.
            return outcome
        try:
            known = now.tool_facts
            names = {name: known[name] for name in wanted if name in known}
            listed = now.keeper.listed(caller, names)
        except PaybillError:
            return outcome
        helpful = tuple(name for name in wanted if name in listed)
        return outcome.model_copy(update={"next_tools": helpful})

    def _record(self, now: Generation, asked: Asked) -> Call:
        ports = now.ports
        return asked.recorded(
            seed=ports.ids.seed(),
            now=ports.clock.now(),
            catalog=ports.catalog.digest,
            bundle=now.keeper.bundle,
        )

    def _fitting(self, tool: ToolSpec, outcome: Outcome) -> Outcome:
        size = len(json.dumps(outcome.answer()))
        if size <= self._limits.answer_bytes_max:
            return outcome
        if tool.changing:
            # It is done: to call it refused because its result is long would be a lie.
            told = "It stands, but its result is too large to show."
            return outcome.model_copy(update={"result": None, "message": told})
        return of_error(
            Refused(
                "The answer is too large; ask for less.", code="answer_too_large", rule="limits"
            )
        )

    def _bounded(self, raw: Mapping[str, Any]) -> str:
        if _depth(raw, self._limits.nesting_max) > self._limits.nesting_max:
            raise BadInput("arguments", f"must not nest deeper than {self._limits.nesting_max}")
        try:
            text = json.dumps(raw, allow_nan=False)
        except (TypeError, ValueError):
            raise BadInput("arguments", "must be plain JSON") from None
        if len(text) > self._limits.body_bytes_max:
            raise BadInput("arguments", f"must have at most {self._limits.body_bytes_max} bytes")
        return text


def _depth(value: Json, depth_max: int) -> int:
    """How deep a value nests; stops counting one past ``depth_max``, so that no input recurses far."""
    depth, level = 1, [value]
    while depth <= depth_max:
        # Level by level, and of each its kinds first: most of a large input has no parts.
        if not any(issubclass(kind, _PARTED) for kind in set(map(type, level))):
            break
        inner = [one for one in level if isinstance(one, _PARTED)]
        level = list(
            chain.from_iterable(one.values() if isinstance(one, dict) else one for one in inner)
        )
        depth += bool(level)
    return depth

"""The gate: asks the policy engine and fails closed. Not the engine; it knows no rule itself.

One `Gate` may be used from many threads. It keeps no answer: every check is a call.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar, cast

import grpc
from cerbos.effect.v1 import effect_pb2
from cerbos.engine.v1 import engine_pb2
from cerbos.request.v1 import request_pb2
from cerbos.response.v1 import response_pb2
from cerbos.schema.v1 import schema_pb2
from google.protobuf import json_format, struct_pb2

from policies.decision import ActionDecision, Decision, Output, decide_action
from policies.errors import BadFacts, GateUnavailable
from policies.request import NO_ROLE, RESOURCES_MAX, Attribute, Principal, Resource
from policies.rows import RowPlan, translate
from policies.stub import Question, Stub, open_channel, open_stub

if TYPE_CHECKING:
    from google.protobuf.message import Message

_Asked = TypeVar("_Asked")
_Told = TypeVar("_Told")

_NO_MATCH = "NO_MATCH"
_NOBODYS_FACT = "?"  # no name in a schema is like it
# How long after the library's own deadline ours ends the wait.
_GRACE_S = 0.2


class Gate:
    """Asks one policy engine for decisions of one bundle `version`. Thread-safe."""

    def __init__(self, socket: Path | str, version: str, deadline_s: float = 1.0) -> None:
        """Open the channel; the engine need not be there yet."""
        if not version:
            raise BadFacts("version", "must not be empty")
        self.version = version
        self._deadline_s = deadline_s
        self._socket = socket
        self._lock = threading.Lock()
        self._channel = open_channel(socket)
        self._stub = open_stub(self._channel)

    def check(self, principal: Principal, resources: Sequence[Resource]) -> tuple[Decision, ...]:
        """Decide every action of every resource in one call; answers in the order asked.

        Raises `BadFacts` (the facts or the policy's output break the contract) or
        `GateUnavailable` (no usable answer within the deadline). Never a partial answer.
        """
        if not 1 <= len(resources) <= RESOURCES_MAX:
            raise BadFacts("resources", f"must number 1 to {RESOURCES_MAX}")
        try:
            request = self._request(principal, resources)
        except (TypeError, ValueError) as error:  # a text that is no Unicode
            raise BadFacts("request", "cannot be sent") from error
        response = self._call(lambda stub: stub.CheckResources, request)
        if len(response.results) != len(resources) or not response.cerbos_call_id:
            raise GateUnavailable("the policy engine's answer does not fit the question")
        return tuple(
            self._decision(asked, entry, response.cerbos_call_id)
            for asked, entry in zip(resources, response.results, strict=True)
        )

    def plan(
        self,
        principal: Principal,
        kind: str,
        attr: Mapping[str, Attribute],
        actions: Sequence[str],
    ) -> RowPlan:
        """Tell on which resources of `kind` all `actions` are allowed; `attr` is known of each.

        Raises what `check` raises, and `Untranslatable` when no filter can say it. A kind that
        has no policy of this version is `GateUnavailable`: the engine would answer "none".
        """
        asked = Resource(kind, kind, attr, tuple(actions))
        response = self._planned(principal, asked)
        if response.validation_errors:
            raise BadFacts(_part(response.validation_errors[0], kind), "breaks the schema")
        if response.meta.filter_debug == _NO_MATCH:
            self._prove_known(principal, asked)
        return translate(response.filter, kind, response.cerbos_call_id)

    def close(self) -> None:
        """Close the channel; calls in flight end as unavailable."""
        self._channel.close()

    def _request(
        self, principal: Principal, resources: Sequence[Resource]
    ) -> request_pb2.CheckResourcesRequest:
        return request_pb2.CheckResourcesRequest(
            include_meta=True,
            principal=self._principal(principal),
            resources=[
                request_pb2.CheckResourcesRequest.ResourceEntry(
                    actions=asked.actions,
                    resource=engine_pb2.Resource(
                        kind=asked.kind,
                        id=asked.id,
                        attr=_values(asked.attr),
                        policy_version=self.version,
                    ),
                )
                for asked in resources
            ],
        )

    def _planned(self, principal: Principal, asked: Resource) -> response_pb2.PlanResourcesResponse:
        try:
            request = self._plan_request(principal, asked)
        except (TypeError, ValueError) as error:  # a text that is no Unicode
            raise BadFacts("request", "cannot be sent") from error
        response = self._call(lambda stub: stub.PlanResources, request)
        got = (response.resource_kind, response.policy_version, tuple(response.actions))
        if got != (asked.kind, self.version, asked.actions) or not response.cerbos_call_id:
            raise GateUnavailable("the policy engine's answer does not fit the question")
        return response

    def _prove_known(self, principal: Principal, asked: Resource) -> None:
        # No rule for these roles and no policy at all get the same answer. But each policy of a
        # bundle has a closed schema, so where there is one, it objects to a fact that nobody knows.
        odd = Resource(asked.kind, asked.id, {_NOBODYS_FACT: True}, asked.actions)
        if not self._planned(principal, odd).validation_errors:
            raise GateUnavailable("the policy engine has no policy of this kind and version")

    def _plan_request(
        self, principal: Principal, asked: Resource
    ) -> request_pb2.PlanResourcesRequest:
        return request_pb2.PlanResourcesRequest(
            include_meta=True,
            actions=asked.actions,
            principal=self._principal(principal),
            resource=engine_pb2.PlanResourcesInput.Resource(
                kind=asked.kind, attr=_values(asked.attr), policy_version=self.version
            ),
        )

    def _principal(self, principal: Principal) -> engine_pb2.Principal:
        return engine_pb2.Principal(
            id=principal.id,
            roles=principal.roles or (NO_ROLE,),
            attr=_values(principal.attr),
            policy_version=self.version,
        )

    def _call(self, method: Callable[[Stub], Question[_Asked, _Told]], request: _Asked) -> _Told:
        stub = self._stub
        try:
            pending = method(stub).future(request, timeout=self._deadline_s)
            try:
                return pending.result(timeout=self._deadline_s + _GRACE_S)
            except grpc.FutureTimeoutError:
                pending.cancel()
                self._renew(stub)
                raise
        except grpc.RpcError as error:
            code = cast("grpc.Call", error).code()
            if code is grpc.StatusCode.INVALID_ARGUMENT:
                raise BadFacts("request", "the policy engine does not accept it") from error
            raise GateUnavailable(f"the policy engine does not answer: {code.name}") from error
        except Exception as error:  # a closed channel, a message that does not parse: all refuse
            raise GateUnavailable("the policy engine cannot be asked") from error

    def _renew(self, stub: Stub) -> None:
        # Under many calls to an engine that stands still the library keeps no deadline: what it
        # holds is given up whole, and on a thread of its own, since its closing may hang as well.
        with self._lock:
            if self._stub is not stub:
                return
            given_up, self._channel = self._channel, open_channel(self._socket)
            self._stub = open_stub(self._channel)
        threading.Thread(target=given_up.close, daemon=True).start()

    def _decision(
        self,
        asked: Resource,
        entry: response_pb2.CheckResourcesResponse.ResultEntry,
        decision_id: str,
    ) -> Decision:
        got = entry.resource
        if (got.kind, got.id, got.policy_version) != (asked.kind, asked.id, self.version):
            raise GateUnavailable("the policy engine answered for another resource")
        if set(entry.actions) != set(asked.actions):
            raise GateUnavailable("the policy engine answered for other actions")
        if {output.action for output in entry.outputs} - set(asked.actions):
            raise GateUnavailable("the policy engine put out something for another action")
        if entry.validation_errors:
            raise BadFacts(_part(entry.validation_errors[0], asked.kind), "breaks the schema")
        put_out = _outputs(entry)
        decided = {
            action: _action(entry, asked.kind, action, put_out.get(action, ()))
            for action in asked.actions
        }
        return Decision(asked.kind, asked.id, MappingProxyType(decided), decision_id, self.version)


def _outputs(entry: response_pb2.CheckResourcesResponse.ResultEntry) -> dict[str, list[Output]]:
    # Read once: to look for each action's among all of them would take actions times outputs.
    found: dict[str, list[Output]] = {}
    for item in entry.outputs:
        output = Output(item.src, item.action, _plain(item), item.error)
        found.setdefault(output.action, []).append(output)
    return found


def _action(
    entry: response_pb2.CheckResourcesResponse.ResultEntry,
    kind: str,
    action: str,
    outputs: Sequence[Output],
) -> ActionDecision:
    effect = entry.actions[action]
    if effect not in (effect_pb2.EFFECT_ALLOW, effect_pb2.EFFECT_DENY, effect_pb2.EFFECT_NO_MATCH):
        raise GateUnavailable("the policy engine answered with an unknown effect")
    policy = entry.meta.actions[action].matched_policy if action in entry.meta.actions else ""
    if effect == effect_pb2.EFFECT_ALLOW and not policy:
        raise GateUnavailable("the policy engine allowed without naming a policy")
    return decide_action(
        allowed=effect == effect_pb2.EFFECT_ALLOW,
        policy="" if policy == _NO_MATCH else policy,
        outputs=outputs,
        part=f"{kind}.{action}",
    )


def _part(error: schema_pb2.ValidationError, kind: str) -> str:
    owner = kind
    if error.source == schema_pb2.ValidationError.SOURCE_PRINCIPAL:
        owner = "principal"
    return ".".join([owner, *filter(None, error.path.split("/"))])


def _plain(item: engine_pb2.OutputEntry) -> object:
    return json_format.MessageToDict(cast("Message", item.val)) if item.HasField("val") else None


def _values(attr: Mapping[str, Attribute]) -> dict[str, struct_pb2.Value]:
    return {name: _value(item) for name, item in attr.items()}


def _value(item: Attribute) -> struct_pb2.Value:
    if item is None:
        return struct_pb2.Value(null_value=struct_pb2.NULL_VALUE)
    if isinstance(item, bool):
        return struct_pb2.Value(bool_value=item)
    if isinstance(item, int | float):
        return struct_pb2.Value(number_value=item)
    if isinstance(item, str):
        return struct_pb2.Value(string_value=item)
    if isinstance(item, Mapping):
        fields = {name: _value(inner) for name, inner in item.items()}
        return struct_pb2.Value(struct_value=struct_pb2.Struct(fields=fields))
    values = [_value(inner) for inner in item]
    return struct_pb2.Value(list_value=struct_pb2.ListValue(values=values))

"""An engine that answers whatever a test wants, and a gate before it. Not a test."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator
from concurrent import futures
from contextlib import contextmanager

import grpc
from cerbos.effect.v1 import effect_pb2
from cerbos.request.v1 import request_pb2
from cerbos.response.v1 import response_pb2
from cerbos.svc.v1 import svc_pb2_grpc

from policies.gate import Gate
from policies.pdp import new_runtime_dir

Response = response_pb2.CheckResourcesResponse
Plan = response_pb2.PlanResourcesResponse
Alter = Callable[[Response], object]
AlterPlan = Callable[[Plan], object]


class Liar(svc_pb2_grpc.CerbosServiceServicer):
    """Allows everything, after `alter` or `alter_plan` has changed the answer."""

    def __init__(self) -> None:
        self.alter: Alter = lambda _: None
        self.alter_plan: AlterPlan = lambda _: None

    def CheckResources(  # noqa: N802 - the service's name
        self, request: request_pb2.CheckResourcesRequest, context: grpc.ServicerContext
    ) -> Response:
        response = Response(cerbos_call_id="call")
        for asked in request.resources:
            entry = response.results.add()
            entry.resource.kind = asked.resource.kind
            entry.resource.id = asked.resource.id
            entry.resource.policy_version = asked.resource.policy_version
            for action in asked.actions:
                entry.actions[action] = effect_pb2.EFFECT_ALLOW
                entry.meta.actions[action].matched_policy = "resource.x"
        self.alter(response)
        return response

    def PlanResources(  # noqa: N802 - the service's name
        self, request: request_pb2.PlanResourcesRequest, context: grpc.ServicerContext
    ) -> Plan:
        response = Plan(
            cerbos_call_id="call",
            resource_kind=request.resource.kind,
            policy_version=request.resource.policy_version,
            actions=request.actions,
            filter={"kind": "KIND_ALWAYS_ALLOWED"},
        )
        self.alter_plan(response)
        return response


@contextmanager
def lying_gate() -> Generator[tuple[Liar, Gate]]:
    folder = new_runtime_dir()
    service = Liar()
    server = grpc.server(futures.ThreadPoolExecutor(2))  # pyright: ignore[reportUnknownMemberType] - its stub is loose
    svc_pb2_grpc.add_CerbosServiceServicer_to_server(service, server)  # type: ignore[no-untyped-call]
    server.add_insecure_port(f"unix:{folder}/s")
    server.start()
    gate = Gate(folder / "s", "d1", deadline_s=5.0)
    try:
        yield service, gate
    finally:
        gate.close()
        server.stop(None).wait(5)
        shutil.rmtree(folder)

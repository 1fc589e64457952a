"""The channel to the engine's socket and its generated stub, typed. Not a client with opinions."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, TypeVar, cast

import grpc
from cerbos.request.v1 import request_pb2
from cerbos.response.v1 import response_pb2
from cerbos.svc.v1 import svc_pb2_grpc

_MESSAGE_BYTES_MAX = 16 * 1024 * 1024

# A restarted engine must be found again within a fraction of the deadline, not after the
# library's default backoff of one second and more.
_CHANNEL_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 250),
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", _MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", _MESSAGE_BYTES_MAX),
)


def open_channel(socket: Path | str) -> grpc.Channel:
    """Open a channel to the engine's Unix socket; nothing is connected until the first call."""
    return grpc.insecure_channel(f"unix:{socket}", options=_CHANNEL_OPTIONS)


Asked_contra = TypeVar("Asked_contra", contravariant=True)
Told_co = TypeVar("Told_co", covariant=True)


class Pending(Protocol[Told_co]):
    """A question that was sent."""

    def result(self, timeout: float) -> Told_co:
        """The answer; `grpc.RpcError`, or `grpc.FutureTimeoutError` after `timeout` seconds."""
        ...

    def cancel(self) -> bool:
        """Ask for nothing more."""
        ...


class Question(Protocol[Asked_contra, Told_co]):
    """One method that decides."""

    def future(self, request: Asked_contra, *, timeout: float) -> Pending[Told_co]:
        """Send, and wait for nothing."""
        ...


class Stub(Protocol):
    """The calls that are used; each raises `grpc.RpcError`, and `timeout` is in seconds."""

    @property
    def CheckResources(  # noqa: N802 - the service's name
        self,
    ) -> Question[request_pb2.CheckResourcesRequest, response_pb2.CheckResourcesResponse]:
        """Decide."""
        ...

    @property
    def PlanResources(  # noqa: N802 - the service's name
        self,
    ) -> Question[request_pb2.PlanResourcesRequest, response_pb2.PlanResourcesResponse]:
        """Tell which resources would be decided so."""
        ...

    def ServerInfo(  # noqa: N802 - the service's name
        self, request: request_pb2.ServerInfoRequest, *, timeout: float
    ) -> response_pb2.ServerInfoResponse:
        """Tell the engine's version."""
        ...


def open_stub(channel: grpc.Channel) -> Stub:
    """Make the stub on a channel. Its `timeout` per call is exact, unlike the client library's."""
    made: object = svc_pb2_grpc.CerbosServiceStub(channel)  # type: ignore[no-untyped-call]
    return cast("Stub", made)

"""The server on a socket: who gets in, what each one sees, and what one cannot do to the others."""

from __future__ import annotations

import json
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import anyio
import mcp_types as types
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from server import grants, keys, tokens
from server.mcp_lines import OpenRequests
from server.socket_face import PREAMBLE_S
from tests.support.house import House, Token
from tests.support.sockets import SocketServer, open_folder, socket_client, socket_server

Issue = Callable[..., Token]


@pytest.fixture(scope="module")
def served(shared: House) -> Iterator[SocketServer]:
    with socket_server(shared) as server:
        yield server


def connect_command(path: Path, *options: str) -> list[str]:
    return [sys.executable, "-P", "-m", "paybill", "connect", str(path), *options]


def test_two_clients_on_one_socket_see_their_own_lists(served: SocketServer, issue: Issue) -> None:
    with (
        socket_client(served, issue("operator", "acme")) as operator,
        socket_client(served, issue("viewer", "acme", principal="vera")) as viewer,
    ):
        operator.greet()
        viewer.greet()
        assert operator.tools() > viewer.tools() > set()
        assert operator.call("whoami")["result"]["principal"] == "alice"
        assert viewer.call("whoami")["result"]["principal"] == "vera"


@pytest.mark.parametrize(
    "first",
    [
        b"no json\n",
        b"\xff\xfe\n",
        b"{}\n",
        b'{"paybill": 2, "token": "x"}\n',
        b'{"paybill": 1}\n',
        b'{"paybill": 1, "token": "x", "more": 1}\n',
        b'{"paybill": 1, "token": "x"}\n',
        b'{"paybill": 1, "token": "' + b"x" * 20_000 + b'"}\n',
        b"x" * 20_000,
        b'{"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}\n',
    ],
    ids=lambda first: repr(first[:40]),
)
def test_a_wrong_preamble_closes_the_connection_without_a_byte(
    served: SocketServer, first: bytes
) -> None:
    with socket_client(served, first) as client:
        assert client.line() == b""


def test_a_late_preamble_closes_the_connection_without_a_byte(served: SocketServer) -> None:
    began = time.monotonic()
    with socket_client(served, None) as client:
        assert client.line() == b""
    assert PREAMBLE_S <= time.monotonic() - began < PREAMBLE_S + 10


def test_a_preamble_in_pieces_is_taken(served: SocketServer, issue: Issue) -> None:
    line = json.dumps({"paybill": 1, "token": issue("viewer", "acme").text}).encode()
    with socket_client(served, line[:10]) as client:
        client.send(line[10:] + b"\n")
        client.greet()
        assert client.call("whoami")["outcome"] == "done"


def test_an_expired_token_opens_no_connection(served: SocketServer, shared: House) -> None:
    with socket_client(served, shared.expired("viewer", "acme")) as client:
        assert client.line() == b""


def test_a_token_that_names_the_house_opens_no_connection(
    served: SocketServer, shared: House, issue: Issue
) -> None:
    token = issue("viewer", "acme")
    with shared.store() as store, store.read() as connection:
        grant = grants.read(connection, token.grant_id)
    assert grant is not None
    named = {"id": "house:billing", "principal": "house:billing", "actor": "house:billing"}
    seed = keys.load_issuer(shared.workspace.keys, keys.load_public(shared.workspace.keys))
    text = tokens.sign(seed, shared.workspace.id, grant.model_copy(update=named))
    with socket_client(served, replace(token, text=text)) as client:
        assert client.line() == b""


def test_a_line_past_its_bound_is_refused_and_ends_the_connection(
    served: SocketServer, issue: Issue
) -> None:
    with socket_client(served, issue("viewer", "acme")) as client:
        client.greet()
        client.send(b"x" * 700_000)
        assert json.loads(client.line())["error"]["code"] == types.INVALID_REQUEST
        assert client.line() == b""


def test_a_line_that_is_no_message_leaves_the_connection_usable(
    served: SocketServer, issue: Issue
) -> None:
    with socket_client(served, issue("viewer", "acme")) as client:
        client.greet()
        client.send(b"no json at all\n")
        assert client.call("whoami")["outcome"] == "done"


def test_a_client_that_leaves_in_a_call_disturbs_nobody(served: SocketServer, issue: Issue) -> None:
    with socket_client(served, issue("viewer", "acme", principal="vera")) as stays:
        stays.greet()
        for _ in range(5):
            with socket_client(served, issue("viewer", "acme")) as leaves:
                leaves.greet()
                leaves.request("tools/call", {"name": "plan_list", "arguments": {}})
        assert stays.call("whoami")["outcome"] == "done"


def test_a_revoked_token_is_refused_on_the_next_call(
    served: SocketServer, shared: House, issue: Issue
) -> None:
    token = issue("viewer", "acme")
    with socket_client(served, token) as client:
        client.greet()
        assert client.call("whoami")["outcome"] == "done"
        shared.revoke(token)
        told = client.call("whoami")
        assert (told["outcome"], told["code"]) == ("refused", "grant_revoked")
        assert client.tools() == set()


def test_one_connection_too_many_is_closed_without_a_byte(shared: House, issue: Issue) -> None:
    with (
        socket_server(shared, "--connections-max", "2") as server,
        socket_client(server, issue("viewer", "acme", principal="vera")) as first,
        socket_client(server, issue("viewer", "acme", principal="walt")) as second,
    ):
        first.greet()
        second.greet()
        with socket_client(server, issue("viewer", "acme", principal="xena")) as third:
            assert third.line() == b""
        assert second.call("whoami")["outcome"] == "done"


def test_one_caller_cannot_take_every_connection(shared: House, issue: Issue) -> None:
    token = issue("viewer", "acme", principal="vera")
    with (
        socket_server(shared, "--connections-max", "4") as server,
        socket_client(server, token) as first,
    ):
        first.greet()
        with socket_client(server, token) as again:
            assert again.line() == b""
        with socket_client(server, issue("viewer", "acme", principal="walt")) as other:
            other.greet()
            assert other.call("whoami")["outcome"] == "done"


@pytest.mark.parametrize("mode", ["0600", "0660", "0666"])
def test_the_socket_has_the_mode_that_was_asked_for_and_goes_with_the_server(
    shared: House, mode: str
) -> None:
    with socket_server(shared, "--socket-mode", mode) as server:
        assert stat.S_IMODE(server.path.lstat().st_mode) == int(mode, 8)
        server.process.terminate()
        assert server.process.wait(20) == 0
        assert not server.path.exists()


@pytest.mark.long
def test_a_server_takes_no_socket_that_another_serves(served: SocketServer, shared: House) -> None:
    ran = subprocess.run(
        [sys.executable, "-P", "-m", "paybill", "serve", "--socket", str(served.path)],
        cwd=shared.workspace.root,
        env=shared.environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "Another server" in ran.stderr


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_connect_carries_both_eras(served: SocketServer, issue: Issue, mode: str) -> None:
    file = str(issue("viewer", "acme").file)
    command = connect_command(served.path, "--token-file", file)
    parameters = StdioServerParameters(command=command[0], args=command[1:], env={})
    with anyio.fail_after(30):
        async with Client(stdio_client(parameters), mode=mode) as client:
            assert (await client.list_tools()).tools
            told = (await client.call_tool("whoami", {})).structured_content
    assert told is not None
    assert told["outcome"] == "done"


@pytest.mark.long
def test_connect_says_what_is_wrong_in_one_line(
    served: SocketServer, shared: House, issue: Issue
) -> None:
    token = issue("viewer", "acme").text
    with open_folder() as folder:
        dead = folder / "dead"
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as bound:
            bound.bind(str(dead))
        cases = {
            "There is no socket": (connect_command(folder / "absent"), token),
            "No server answers": (connect_command(dead), token),
            "is needed": (connect_command(served.path), ""),
            "is no argument": (connect_command(served.path, "--token", "x"), ""),
            "The server closed": (connect_command(served.path), "not-a-token"),
        }
        told = {said: _failed(command, held) for said, (command, held) in cases.items()}
    assert all(line.count("\n") == 1 and said in line for said, line in told.items()), told
    assert token not in "".join(told.values())


def _failed(command: list[str], token: str) -> str:
    environment = {"PAYBILL_TOKEN": token} if token else {}
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
    ) as process:
        try:
            # stdin stays open: the client is still there when the server closes.
            assert process.wait(30) == 1
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.read() == ""
            return process.stderr.read()
        finally:
            process.kill()


def test_connect_needs_no_room_but_its_own(tmp_path: Path) -> None:
    code = (
        "import json, sys, paybill\n"
        "sys.argv = ['paybill', 'connect', '/nowhere']\n"
        "try:\n    paybill.main()\nexcept SystemExit:\n    pass\n"
        "sys.stdout.write(json.dumps(sorted(sys.modules)))"
    )
    ran = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=tmp_path,
        env={"PAYBILL_TOKEN": "x"},
        capture_output=True,
        timeout=30,
        check=True,
    )
    loaded: list[str] = json.loads(ran.stdout)
    heavy = {"sqlalchemy", "mcp", "cryptography", "langgraph", "dbos", "grpc", "tools"}
    assert heavy & {name.split(".")[0] for name in loaded} == set()
    assert not any(name.startswith("control_plane.store") for name in loaded)


@pytest.mark.anyio
async def test_no_more_requests_are_read_than_may_be_open() -> None:
    requests = OpenRequests(2)
    one, two = (types.JSONRPCRequest(jsonrpc="2.0", id=n, method="x") for n in (1, 2))
    assert requests.admit(one)
    assert not requests.admit(types.JSONRPCRequest(jsonrpc="2.0", id="1", method="x"))
    assert requests.admit(two)
    with anyio.move_on_after(0.05) as waited:
        await requests.room()
    assert waited.cancelled_caught
    requests.answered(types.JSONRPCResponse(jsonrpc="2.0", id=1, result={}))
    with anyio.fail_after(5):
        await requests.room()

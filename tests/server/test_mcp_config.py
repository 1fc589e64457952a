"""What `mcp-config` prints is run as printed; what it writes keeps what is there. With real clients."""

from __future__ import annotations

import json
import os
import shlex
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from typer.testing import CliRunner, Result

from control_plane.errors import BadInput
from server.cli.app import app
from server.client_config import Address, Host, Program, checked_url, configuration, merged
from tests.support.agents import answer
from tests.support.house import House, Token
from tests.support.http_faces import AUDIENCE, FOR_HTTP, http_face
from tests.support.sockets import socket_server

pytestmark = pytest.mark.slice_of(3)

HOSTS = [host.value for host in Host]
OVER_HTTP = [host.value for host in Host if host is not Host.CLAUDE_DESKTOP]
COMMAND_S = 60.0
ANSWER_S = 30.0

Issue = Callable[..., Token]


def mcp_config(house: House, host: str, *options: str, told: str = "", **extra: str) -> Result:
    """Run the command in the workspace, with an answer for its question."""
    workspace = ("--workspace", str(house.workspace.root))
    kept = {name: None for name in os.environ if name.startswith("PAYBILL_")}
    return CliRunner().invoke(
        app,
        [*workspace, "mcp-config", host, *options],
        input=told,
        env={**kept, **house.environment, **extra},
    )


def printed(house: House, host: str, *options: str) -> dict[str, Any]:
    """What is to be pasted: all of stdout."""
    ran = mcp_config(house, host, *options)
    assert ran.exit_code == 0, ran.stderr
    made: dict[str, Any] = json.loads(ran.stdout)
    return made


def server_of(host: str, made: dict[str, Any]) -> dict[str, Any]:
    """The server's entry, from where the host looks for it."""
    section = "servers" if host == "vscode" else "mcpServers"
    server: dict[str, Any] = made[section]["paybill"]
    return server


async def started(server: dict[str, Any], folder: Path) -> tuple[set[str], dict[str, Any]]:
    """Start exactly this, as a host does: with HOME and PATH and what the file says; in its folder."""
    environment = {"HOME": str(Path.home()), "PATH": os.environ["PATH"], **server.get("env", {})}
    parameters = StdioServerParameters(
        command=server["command"], args=server["args"], env=environment, cwd=str(folder)
    )
    with (folder / "host.log").open("a") as errors:
        async with Client(stdio_client(parameters, errlog=errors)) as client:
            tools = {tool.name for tool in (await client.list_tools()).tools}
            return tools, answer(await client.call_tool("whoami", {}))["result"]


@pytest.mark.long
@pytest.mark.anyio
@pytest.mark.parametrize("host", HOSTS)
async def test_what_is_printed_for_stdio_starts_a_server(
    shared: House, issue: Issue, host: str, tmp_path: Path
) -> None:
    token = issue("viewer", "acme", actor=f"{host}-bot")
    made = printed(shared, host, "--token-file", str(token.file))
    server = server_of(host, made)
    assert server.get("type") == (None if host == "claude-desktop" else "stdio")
    tools, me = await started(server, tmp_path)
    assert {"whoami", "tenant_list"} <= tools
    assert (me["actor"], me["tenants"]) == (f"{host}-bot", ["acme"])


@pytest.mark.long_but_one
@pytest.mark.anyio
@pytest.mark.parametrize("host", HOSTS)
async def test_what_is_printed_for_a_socket_joins_it(
    shared: House, issue: Issue, host: str, tmp_path: Path
) -> None:
    token = issue("viewer", "acme", actor="joined")
    with socket_server(shared) as served:
        options = ("--socket", str(served.path), "--token-file", str(token.file))
        server = server_of(host, printed(shared, host, *options))
        assert "--workspace" not in server["args"]
        tools, me = await started(server, tmp_path)
    assert "whoami" in tools
    assert me["actor"] == "joined"


@pytest.mark.anyio
@pytest.mark.parametrize("host", OVER_HTTP)
async def test_what_is_printed_for_http_reaches_the_server(
    shared: House, issue: Issue, host: str
) -> None:
    token = issue("viewer", "acme", actor="remote", bound=FOR_HTTP)
    with http_face(shared) as served:
        made = printed(shared, host, "--http", served.local_url)
        server = server_of(host, made)
        asked = {
            "claude-code": "${PAYBILL_TOKEN}",
            "cursor": "${env:PAYBILL_TOKEN}",
            "vscode": "${input:paybill_token}",
        }[host]
        headers = {
            name: value.replace(asked, token.text) for name, value in server["headers"].items()
        }
        assert headers != server["headers"], "the host puts the token in where the file asks for it"
        async with (
            httpx2.AsyncClient(headers=headers, timeout=ANSWER_S, trust_env=False) as http,
            Client(streamable_http_client(server["url"], http_client=http)) as client,
        ):
            tools = {tool.name for tool in (await client.list_tools()).tools}
            me = answer(await client.call_tool("whoami", {}))["result"]
    assert "whoami" in tools
    assert me["actor"] == "remote"
    if host == "vscode":
        (prompt,) = made["inputs"]
        assert (prompt["id"], prompt["password"]) == ("paybill_token", True)


def test_claude_code_may_be_told_by_one_command(shared: House, issue: Issue) -> None:
    token = issue("viewer", "acme")
    ran = mcp_config(shared, "claude-code", "--token-file", str(token.file))
    (line,) = [each for each in ran.stderr.splitlines() if "claude mcp add-json" in each]
    words = shlex.split(line.removeprefix("Or type: "))
    assert words[:4] == ["claude", "mcp", "add-json", "paybill"]
    assert json.loads(words[4]) == server_of("claude-code", json.loads(ran.stdout))


@pytest.mark.parametrize("host", HOSTS)
def test_no_token_is_ever_printed_and_every_path_is_absolute(
    shared: House, issue: Issue, host: str
) -> None:
    token = issue("viewer", "acme")
    relative = os.path.relpath(token.file)
    ran = mcp_config(shared, host, "--token-file", relative, PAYBILL_TOKEN=token.text)
    assert token.text not in ran.stdout + ran.stderr
    server = server_of(host, json.loads(ran.stdout))
    at = server["args"].index("--token-file") + 1
    assert Path(server["args"][at]).resolve() == token.file.resolve()
    assert Path(server["args"][at]).is_absolute()
    assert Path(server["command"]).is_absolute()
    assert "PAYBILL_TOKEN" not in server["env"]


@pytest.mark.parametrize(
    ("host", "options", "rule"),
    [
        ("vscode", [], "--token-file: is needed"),
        ("vscode", ["--token-file", "nowhere"], "--token-file: is not there"),
        ("claude-desktop", ["--http", "https://example.com/mcp"], "is not for claude-desktop"),
        ("vscode", ["--http", "https://example.com/mcp", "--socket", "s"], "is not for --http"),
        ("vscode", ["--http", "http://example.com/mcp"], "must be https"),
        ("vscode", ["--http", "https://bot:pass@example.com/mcp"], "neither credentials"),
        ("vscode", ["--http", "https://example.com/mcp", "--name", "a b"], "--name: must be"),
        ("vscode", ["--http", "https://example.com/mcp", "--file", "x"], "--file: is for --write"),
    ],
)
def test_what_cannot_be_told_is_refused(
    shared: House, host: str, options: list[str], rule: str
) -> None:
    ran = mcp_config(shared, host, *options)
    assert (ran.exit_code, ran.stdout) == (1, "")
    assert rule in ran.stderr
    assert "bot:pass" not in ran.stderr


# --write ---------------------------------------------------------------------------------------

WEB = ("--http", "https://example.com/mcp")


def test_a_file_that_is_not_there_is_made(shared: House, tmp_path: Path) -> None:
    file = tmp_path / "deep" / "mcp.json"
    ran = mcp_config(shared, "vscode", *WEB, "--write", "--yes", "--file", str(file))
    assert (ran.exit_code, ran.stdout) == (0, "")
    assert json.loads(file.read_text()) == configuration(
        Host.VSCODE, "paybill", Address("https://example.com/mcp")
    )
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "the server paybill is added" in ran.stderr


@pytest.mark.parametrize(
    ("host", "path"),
    [
        ("claude-code", ".mcp.json"),
        ("vscode", ".vscode/mcp.json"),
        ("cursor", ".cursor/mcp.json"),
    ],
)
def test_the_file_is_the_one_that_the_host_reads(
    shared: House, tmp_path: Path, host: str, path: str
) -> None:
    command = [sys.executable, "-P", "-m", "paybill", "mcp-config", host, *WEB, "--write", "-y"]
    subprocess.run(command, cwd=tmp_path, env=shared.environment, check=True, timeout=COMMAND_S)
    assert (tmp_path / path).is_file()


def test_what_is_there_stays_and_a_second_writing_changes_nothing(
    shared: House, tmp_path: Path
) -> None:
    file = tmp_path / "mcp.json"
    held = {
        "$schema": "x",
        "servers": {"other": {"type": "stdio", "command": "é"}, "paybill": {"command": "old"}},
        "inputs": [{"id": "paybill_token", "type": "promptString", "description": "mine"}],
    }
    file.write_text(json.dumps(held))
    file.chmod(0o640)
    options = (*WEB, "--write", "--file", str(file))
    ran = mcp_config(shared, "vscode", *options, told="y\n")
    assert ran.exit_code == 0, ran.stderr
    assert "the server paybill is replaced" in ran.stderr
    written = json.loads(file.read_text())
    assert list(written) == list(held)
    assert written["servers"]["other"] == held["servers"]["other"]  # type: ignore[index]
    assert written["inputs"] == held["inputs"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    before = file.read_bytes(), file.stat().st_mtime_ns
    again = mcp_config(shared, "vscode", *options)
    assert (again.exit_code, "says so already" in again.stderr) == (0, True)
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("told", ["n\n", "", "perhaps\n"])
def test_without_a_yes_nothing_is_written(shared: House, tmp_path: Path, told: str) -> None:
    file = tmp_path / "mcp.json"
    ran = mcp_config(shared, "cursor", *WEB, "--write", "--file", str(file), told=told)
    assert ran.exit_code == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "held",
    [
        b"{ // a comment\n}",
        b"[]",
        b'{"mcpServers": []}',
        b'{"a": 1, "a": 2}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"mcpServers": {',
    ],
)
def test_a_file_of_another_form_is_left_as_it_is(
    shared: House, tmp_path: Path, held: bytes
) -> None:
    file = tmp_path / "mcp.json"
    file.write_bytes(held)
    ran = mcp_config(shared, "cursor", *WEB, "--write", "--yes", "--file", str(file))
    assert ran.exit_code == 1
    assert ran.stderr.startswith("paybill: file")
    assert file.read_bytes() == held
    assert list(tmp_path.iterdir()) == [file]


def test_a_link_is_followed_and_stays_a_link(shared: House, tmp_path: Path) -> None:
    file, link = tmp_path / "real.json", tmp_path / "link.json"
    file.write_text("{}")
    link.symlink_to(file)
    ran = mcp_config(shared, "cursor", *WEB, "--write", "--yes", "--file", str(link))
    assert ran.exit_code == 0, ran.stderr
    assert link.is_symlink()
    assert "paybill" in json.loads(file.read_text())["mcpServers"]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@pytest.mark.long
@given(
    rest=st.dictionaries(st.text(max_size=8).filter(lambda key: key != "mcpServers"), _JSON),
    servers=st.dictionaries(st.text(max_size=8).filter(lambda key: key != "paybill"), _JSON),
)
def test_a_merge_adds_the_one_server_and_loses_nothing(
    rest: dict[str, Any], servers: dict[str, Any]
) -> None:
    added = configuration(Host.CURSOR, "paybill", Program("/p", ("serve",)))
    text, changes = merged(json.dumps({**rest, "mcpServers": servers}), added)
    ours = added["mcpServers"]["paybill"]
    assert json.loads(text) == {**rest, "mcpServers": {**servers, "paybill": ours}}
    assert changes == ["the server paybill is added"]
    assert merged(text, added) == (text, [])


@pytest.mark.parametrize("url", ["http://localhost:8080/mcp", "http://[::1]:1/mcp", AUDIENCE])
def test_a_url_that_shows_no_token_to_others_is_taken(url: str) -> None:
    assert checked_url(url) == url


@pytest.mark.parametrize("url", ["ftp://x/mcp", "https:///mcp", "example.com", "https://x/?t=1"])
def test_any_other_url_is_refused(url: str) -> None:
    with pytest.raises(BadInput):
        checked_url(url)

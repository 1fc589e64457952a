"""The policy engine as a child process on a private Unix socket. Not the gate that asks it.

A new bundle means a new `Pdp`: a running one never changes what it decides by.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeAlias

import grpc
import yaml
from cerbos.request.v1 import request_pb2

from policies.bundle import Bundle
from policies.errors import BadFacts, GateError, GateUnavailable
from policies.gate import Gate
from policies.request import ACTIONS_MAX, RESOURCES_MAX, Principal, Resource
from policies.stub import open_channel, open_stub

_SOCKET_PATH_BYTES_MAX = 100  # Linux allows 107, macOS 103
_PROBE_S = 0.25
_PROBE_PAUSE_S = 0.02
_KILL_GRACE_S = 5.0
_LOG_BYTES_MAX = 8 * 1024 * 1024
_WINDOW_S = 60.0
_PR_SET_PDEATHSIG = 1

_LIBC: ctypes.CDLL | None = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


RUNTIME_PREFIX = "pb-"


def new_runtime_dir() -> Path:
    """Make a fresh folder, 0700, with a path short enough for a socket; the caller removes it."""
    folder = Path(tempfile.mkdtemp(prefix=RUNTIME_PREFIX))
    if len(bytes(folder / "grpc.sock")) > _SOCKET_PATH_BYTES_MAX:
        folder.rmdir()
        folder = Path(tempfile.mkdtemp(prefix=RUNTIME_PREFIX, dir="/tmp"))
    return folder


class Pdp:
    """One engine process over one bundle; may be started again after it died."""

    def __init__(self, binary: Path, bundle: Bundle, runtime_dir: Path) -> None:
        """`runtime_dir` is private (0700) and outside any workspace; nothing is started yet."""
        self.binary = binary
        self.bundle = bundle
        self.runtime_dir = runtime_dir
        self.socket = runtime_dir / "grpc.sock"
        self.log = runtime_dir / "pdp.log"
        self._process: subprocess.Popen[bytes] | None = None
        if len(bytes(self.socket)) > _SOCKET_PATH_BYTES_MAX:
            raise BadFacts("runtime_dir", f"socket path exceeds {_SOCKET_PATH_BYTES_MAX} bytes")
        if runtime_dir.stat().st_mode & 0o077:
            raise BadFacts("runtime_dir", "must be closed to group and others")

    @property
    def pid(self) -> int | None:
        """The process id while it is known, else None."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the process and return at once; `wait_ready` tells when it answers.

        On Linux the kernel kills the engine when the *thread* that called `start` ends, not only
        when the process does: start it from a thread that lives as long as the engine should.
        """
        if self.alive():
            return
        config = self.runtime_dir / "config.yaml"
        config.write_text(yaml.safe_dump(_config(self.runtime_dir, self.bundle)))
        command = [str(self.binary), "server", f"--config={config}", "--log-level=warn"]
        with self.log.open("ab") as log:
            try:
                # A file, never a pipe: nobody has to read it for the engine to go on.
                self._process = subprocess.Popen(  # noqa: S603 - fixed arguments, no shell
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=_environment(self.runtime_dir),
                    cwd=self.runtime_dir,
                    start_new_session=True,
                    preexec_fn=None if _LIBC is None else _die_with_parent,  # noqa: PLW1509 - one C call
                )
            except OSError as error:
                raise GateUnavailable("the policy engine cannot be started") from error

    def alive(self) -> bool:
        """Tell whether the process runs (it may still hang: only a check proves an answer)."""
        return self._process is not None and self._process.poll() is None

    def wait_ready(self, deadline_s: float) -> str:
        """Wait until the engine answers; returns its version. Raises `GateUnavailable`."""
        end_s = time.monotonic() + deadline_s
        with open_channel(self.socket) as channel:
            stub = open_stub(channel)
            while (left_s := end_s - time.monotonic()) > 0:
                if not self.alive():
                    raise GateUnavailable(
                        f"the policy engine ended at start, {self._end()}; see {self.log}"
                    )
                try:
                    info = stub.ServerInfo(
                        request_pb2.ServerInfoRequest(), timeout=min(left_s, _PROBE_S)
                    )
                except grpc.RpcError:
                    time.sleep(min(left_s, _PROBE_PAUSE_S))
                else:
                    return info.version
        raise GateUnavailable(f"the policy engine was not ready within {deadline_s:g} s")

    def _end(self) -> str:
        status = None if self._process is None else self._process.returncode
        if status is None:
            return "before it ran"
        return f"by signal {-status}" if status < 0 else f"with status {status}"

    def trim_log(self) -> None:
        """Empty the log when it has grown past its bound; the engine goes on appending to it."""
        if self.log.exists() and self.log.stat().st_size > _LOG_BYTES_MAX:
            os.truncate(self.log, 0)

    def stop(self, grace_s: float = 2.0) -> None:
        """End the process, kindly first, and remove its sockets. Safe to call twice."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=grace_s)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(timeout=_KILL_GRACE_S)
        for name in ("grpc.sock", "http.sock"):
            (self.runtime_dir / name).unlink(missing_ok=True)


def canary(gate: Gate) -> None:
    """Prove the engine: it allows, denies, evaluates strictly and enforces schemas.

    Raises `GateUnavailable` when any of the four is not so.
    """
    principal = Principal("canary", ("canary",), {"actor_kind": "service", "actor": ""})
    allow = Resource("canary", "allow", {"pass": True, "number": "none"}, ("probe", "strict"))
    deny = Resource("canary", "deny", {"pass": False, "number": "0"}, ("probe", "strict"))
    allowed, denied = gate.check(principal, (allow, deny))
    seen = [found.allows(act) for found in (allowed, denied) for act in ("probe", "strict")]
    if seen != [True, False, False, True]:
        raise GateUnavailable("the policy engine failed the canary: another bundle or settings")
    try:
        gate.check(principal, [Resource("canary", "schema", {"pass": True}, ("probe",))])
    except BadFacts:
        return
    raise GateUnavailable("the policy engine failed the canary: schemas are not enforced")


Tick: TypeAlias = Literal["alive", "restarted", "exhausted"]


class Supervisor:
    """Restarts a dead engine on the same socket, so often a minute at most. Owns no thread."""

    def __init__(self, pdp: Pdp, restarts_per_minute_max: int = 5) -> None:
        """`pdp` is started by the caller."""
        self.pdp = pdp
        self._restarts_max = restarts_per_minute_max
        self._restarted_at_s: list[float] = []

    def tick(self, now_s: float) -> Tick:
        """Look once; `now_s` is a monotonic clock. Call it again and again from one thread.

        `restarted` does not wait for readiness. `exhausted` means that the engine is dead and
        stays so until the minute has passed.
        """
        self.pdp.trim_log()
        if self.pdp.alive():
            return "alive"
        recent = [at_s for at_s in self._restarted_at_s if now_s - at_s < _WINDOW_S]
        self._restarted_at_s = recent
        if len(recent) >= self._restarts_max:
            return "exhausted"
        recent.append(now_s)
        try:
            self.pdp.start()
        except GateError:
            return "exhausted" if len(recent) >= self._restarts_max else "restarted"
        return "restarted"


def _config(runtime_dir: Path, bundle: Bundle) -> Mapping[str, object]:
    return {
        "server": {
            "httpListenAddr": f"unix:{runtime_dir / 'http.sock'}",
            "grpcListenAddr": f"unix:{runtime_dir / 'grpc.sock'}",
            "udsFileMode": "0600",
            "requestLimits": {
                "maxActionsPerResource": ACTIONS_MAX,
                "maxResourcesPerRequest": RESOURCES_MAX,
            },
            "apiExplorerEnabled": False,
            "cors": {"disabled": True},
        },
        "telemetry": {"disabled": True},
        "engine": {"lenientScopeSearch": False, "strictEvaluation": True},
        "schema": {"enforcement": "reject"},
        "audit": {"enabled": False},
        "storage": {
            "driver": "disk",
            "disk": {"directory": str(bundle.directory), "watchForChanges": False},
        },
    }


def _environment(runtime_dir: Path) -> dict[str, str]:
    """Nothing is inherited; the two Go settings are cheaper for a small, steady load (measured)."""
    return {
        "HOME": str(runtime_dir),
        "TMPDIR": str(runtime_dir),
        "GOGC": "400",
        "GOMAXPROCS": "1",
        "CERBOS_NO_TELEMETRY": "1",
    }


def _die_with_parent() -> None:
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)

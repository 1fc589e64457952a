"""The engine's process: started, killed, hung, brought back, and its canary."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import yaml

from policies.binary import Binary
from policies.bundle import Bundle, build_bundle
from policies.errors import BadFacts, GateUnavailable
from policies.gate import Gate
from policies.pdp import Pdp, Supervisor, canary, new_runtime_dir
from policies.request import Principal, Resource

ANN = Principal("ann", ("viewer",), {"actor_kind": "human", "actor": ""})
WORKSPACE = Resource("workspace", "w", {"exists": True, "member": True}, ("read",))


def until(condition: Callable[[], bool], deadline_s: float = 10.0) -> None:
    end_s = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end_s, "it did not become so in time"
        time.sleep(0.01)


def kill(pdp: Pdp) -> None:
    assert pdp.pid is not None
    os.kill(pdp.pid, signal.SIGKILL)
    until(lambda: not pdp.alive())


def test_the_sockets_and_their_folder_are_private(pdp: Pdp) -> None:
    assert pdp.runtime_dir.stat().st_mode & 0o777 == 0o700
    for name in ("grpc.sock", "http.sock"):
        assert (pdp.runtime_dir / name).stat().st_mode & 0o777 == 0o600


def test_the_engine_says_its_version(pdp: Pdp, binary: Binary) -> None:
    assert pdp.wait_ready(5) == binary.version


def test_a_sound_engine_passes_the_canary(gate: Gate) -> None:
    canary(gate)


def test_another_bundle_fails_the_canary(pdp: Pdp) -> None:
    gate = Gate(pdp.socket, "d0000000000000000", deadline_s=5.0)
    try:
        with pytest.raises(GateUnavailable):
            canary(gate)
    finally:
        gate.close()


@pytest.mark.long_but_one
@pytest.mark.parametrize(
    ("part", "name", "value"),
    [("engine", "strictEvaluation", False), ("schema", "enforcement", "none")],
)
def test_a_lax_engine_fails_the_canary(
    binary: Binary, bundle: Bundle, part: str, name: str, value: object
) -> None:
    folder = new_runtime_dir()
    pdp = Pdp(binary.path, bundle, folder)
    try:
        pdp.start()
        pdp.wait_ready(15)
        pdp.stop()
        config = yaml.safe_load((folder / "config.yaml").read_text())
        config[part][name] = value
        (folder / "lax.yaml").write_text(yaml.safe_dump(config))
        _canary_fails(binary, folder, bundle.version)
    finally:
        pdp.stop()
        shutil.rmtree(folder)


def _canary_fails(binary: Binary, folder: Path, version: str) -> None:
    command = [str(binary.path), "server", f"--config={folder / 'lax.yaml'}", "--log-level=error"]
    lax = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    gate = Gate(folder / "grpc.sock", version, deadline_s=5.0)
    try:
        until(lambda: answers(gate))
        with pytest.raises(GateUnavailable, match="canary"):
            canary(gate)
    finally:
        gate.close()
        lax.kill()
        lax.wait(10)


def answers(gate: Gate) -> bool:
    try:
        return len(gate.check(ANN, [WORKSPACE])) == 1
    except GateUnavailable:
        return False


def test_a_killed_engine_is_unavailable_and_comes_back_on_the_same_socket(own_pdp: Pdp) -> None:
    gate = Gate(own_pdp.socket, own_pdp.bundle.version, deadline_s=5.0)
    supervisor = Supervisor(own_pdp, restarts_per_minute_max=1)
    try:
        assert answers(gate)
        assert supervisor.tick(0.0) == "alive"
        kill(own_pdp)
        with pytest.raises(GateUnavailable):
            gate.check(ANN, [WORKSPACE])
        assert supervisor.tick(1.0) == "restarted"
        own_pdp.wait_ready(15)
        started_s = time.monotonic()
        until(lambda: answers(gate), deadline_s=2.0)
        assert time.monotonic() - started_s < 2.0
        kill(own_pdp)
        assert supervisor.tick(60.9) == "exhausted"
        assert not own_pdp.alive()
        assert supervisor.tick(61.1) == "restarted"
        own_pdp.wait_ready(15)
    finally:
        gate.close()


def test_a_hung_engine_costs_the_deadline_and_no_more(own_pdp: Pdp) -> None:
    gate = Gate(own_pdp.socket, own_pdp.bundle.version, deadline_s=0.3)
    assert own_pdp.pid is not None
    try:
        until(lambda: answers(gate))
        os.kill(own_pdp.pid, signal.SIGSTOP)
        engine = psutil.Process(own_pdp.pid)
        until(lambda: engine.status() == psutil.STATUS_STOPPED)
        started_s = time.monotonic()
        with pytest.raises(GateUnavailable):
            gate.check(ANN, [WORKSPACE])
        assert 0.25 < time.monotonic() - started_s < 2.0
        os.kill(own_pdp.pid, signal.SIGCONT)
        until(lambda: answers(gate))
    finally:
        gate.close()


def test_a_hung_engine_can_be_stopped(own_pdp: Pdp) -> None:
    pid = own_pdp.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    own_pdp.stop(grace_s=0.1)
    assert not Path(f"/proc/{pid}").exists()
    assert not own_pdp.socket.exists()
    own_pdp.stop()


def test_an_engine_that_cannot_start_says_so(binary: Binary, tmp_path: Path) -> None:
    folder = new_runtime_dir()
    nowhere = Bundle("0" * 64, "d0", tmp_path / "nowhere")
    pdp = Pdp(binary.path, nowhere, folder)
    try:
        pdp.start()
        with pytest.raises(GateUnavailable, match="ended at start"):
            pdp.wait_ready(15)
        missing = Pdp(tmp_path / "no-cerbos", nowhere, folder)
        with pytest.raises(GateUnavailable):
            missing.start()
        assert Supervisor(missing, 1).tick(0.0) == "exhausted"
    finally:
        pdp.stop()
        shutil.rmtree(folder)


def test_an_open_or_deep_runtime_folder_is_refused(
    binary: Binary, bundle: Bundle, tmp_path: Path
) -> None:
    wide = tmp_path / "wide"
    wide.mkdir(mode=0o755)
    deep = tmp_path / ("d" * 100)
    deep.mkdir(mode=0o700)
    for folder in (wide, deep):
        with pytest.raises(BadFacts):
            Pdp(binary.path, bundle, folder)


def test_the_log_is_bounded(own_pdp: Pdp) -> None:
    with own_pdp.log.open("ab") as log:
        log.truncate(9 * 1024 * 1024)
    assert Supervisor(own_pdp).tick(0.0) == "alive"
    assert own_pdp.log.stat().st_size == 0


@pytest.mark.skipif(sys.platform != "linux", reason="PDEATHSIG exists on Linux only")
def test_the_engine_does_not_outlive_its_parent(binary: Binary, bundle: Bundle) -> None:
    folder = new_runtime_dir()
    script = (
        "import sys; from pathlib import Path\n"
        "from policies.bundle import Bundle; from policies.pdp import Pdp\n"
        "pdp = Pdp(Path(sys.argv[1]), Bundle('', 'd', Path(sys.argv[2])), Path(sys.argv[3]))\n"
        "pdp.start(); pdp.wait_ready(15)\n"
        "Path(sys.argv[3], 'pid').write_text(str(pdp.pid)); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", script, str(binary.path), str(bundle.directory), str(folder)]
    parent = subprocess.Popen(command, stdin=subprocess.PIPE, cwd=Path(__file__).parents[2])
    try:
        until(lambda: (folder / "pid").exists() and bool((folder / "pid").read_text()), 30.0)
        engine = int((folder / "pid").read_text())
        parent.kill()
        parent.wait(10)
        until(lambda: not _runs(engine))
    finally:
        parent.kill()
        parent.wait(10)
        assert parent.stdin is not None
        parent.stdin.close()
        shutil.rmtree(folder)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.long
def test_a_new_bundle_is_a_new_engine(binary: Binary, own_pdp: Pdp, tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(Path(__file__).parents[2] / "policies" / "cerbos", source)
    policy = source / "workspace.yaml"
    policy.write_text(policy.read_text().replace("roles: [viewer, ", "roles: ["))
    changed = build_bundle([source], tmp_path / "bundles")
    second = Pdp(binary.path, changed, new_runtime_dir())
    old = Gate(own_pdp.socket, own_pdp.bundle.version, deadline_s=5.0)
    new = Gate(second.socket, changed.version, deadline_s=5.0)
    try:
        second.start()
        second.wait_ready(15)
        canary(new)
        assert old.check(ANN, [WORKSPACE])[0].allows("read")
        assert not new.check(ANN, [WORKSPACE])[0].allows("read")
    finally:
        old.close()
        new.close()
        second.stop()
        shutil.rmtree(second.runtime_dir)

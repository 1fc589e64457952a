"""Real policy engine, real store, stacks in memory: a world a test costs milliseconds. Not a test."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from control_plane.secrets.key_file import load_seed
from policies.bundle import build_bundle
from policies.gate import Gate
from policies.pdp import Pdp, new_runtime_dir
from server import approving
from server.catalog import policy_sources
from tests.support.approval_template import make_template, make_world, with_parked
from tests.support.approval_world import Template, World

READY_S = 20.0
DEADLINE_S = 10.0
EXTRA = """\
apiVersion: api.cerbos.dev/v1
resourcePolicy:
  resource: extra
  version: default
  schemas:
    principalSchema: {ref: "cerbos:///principal.json"}
    resourceSchema: {ref: "cerbos:///workspace.json"}
  rules:
    - name: read
      actions: [read]
      effect: EFFECT_ALLOW
      roles: [viewer]
"""


@contextmanager
def engine(cerbos: Path, sources: list[Path], bundles: Path) -> Generator[Gate]:
    """A policy engine of its own over a bundle; ended with the block."""
    bundle = build_bundle(sources, bundles)
    runtime = new_runtime_dir()
    pdp = Pdp(cerbos, bundle, runtime)
    pdp.start()
    try:
        pdp.wait_ready(READY_S)
        gate = Gate(pdp.socket, bundle.version, DEADLINE_S)
        yield gate
        gate.close()
    finally:
        pdp.stop()
        shutil.rmtree(runtime, ignore_errors=True)


@pytest.fixture(scope="session")
def gate(cerbos_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """The gate of the bundle in force."""
    folder = tmp_path_factory.mktemp("bundles")
    with engine(cerbos_binary, list(policy_sources(None)), folder) as made:
        yield made


@pytest.fixture(scope="session")
def other_gate(cerbos_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """The gate of a bundle with one more policy, which nothing here asks for."""
    folder = tmp_path_factory.mktemp("other-bundles")
    extra = folder / "extra"
    extra.mkdir()
    (extra / "extra.yaml").write_text(EXTRA)
    sources = [*policy_sources(None), extra]
    with engine(cerbos_binary, sources, folder / "bundles") as made:
        yield made


@pytest.fixture(scope="session")
def two_people(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """A workspace whose approvals need another person than the requester."""
    return make_template(tmp_path_factory.mktemp("two-people"), "two_people")


@pytest.fixture(scope="session")
def own_hand(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """A workspace whose approvals are the requester's own."""
    return make_template(tmp_path_factory.mktemp("own-hand"), "own_hand")


@pytest.fixture(scope="session")
def parked(tmp_path_factory: pytest.TempPathFactory, gate: Gate, two_people: Template) -> Template:
    """The same, with a run that waits for an approval."""
    return with_parked(two_people, tmp_path_factory.mktemp("parked"), gate, failed_before=False)


@pytest.fixture(scope="session")
def parked_standing(
    tmp_path_factory: pytest.TempPathFactory, gate: Gate, two_people: Template
) -> Template:
    """The same, of a tenant whose onboarding has failed before."""
    return with_parked(two_people, tmp_path_factory.mktemp("standing"), gate, failed_before=True)


@pytest.fixture
def make(tmp_path: Path, gate: Gate) -> Iterator[Callable[[Template], World]]:
    """`make(template)`: a world of this test's own."""
    made: list[World] = []

    def one(template: Template) -> World:
        world = make_world(template, tmp_path / f"world-{len(made)}", gate)
        made.append(world)
        return world

    yield one
    for world in made:
        world.close()


@pytest.fixture
def world(make: Callable[[Template], World], two_people: Template) -> World:
    """A world under the rule of two people."""
    return make(two_people)


@pytest.fixture(autouse=True)
def opened_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key file is opened once for each passphrase: deriving its key is slow on purpose."""
    monkeypatch.setattr(approving, "load_seed", _opened)


_OPENED: dict[tuple[bytes, bytes], bytes] = {}


def _opened(path: Path, passphrase: bytes) -> bytes:
    asked = (path.read_bytes(), passphrase)
    if asked not in _OPENED:
        _OPENED[asked] = load_seed(path, passphrase)
    return _OPENED[asked]

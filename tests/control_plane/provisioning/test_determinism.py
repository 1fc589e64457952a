"""The same request gives the same digest, and each changed input another one. Not what is in a plan."""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.domain.canonical import canonical, digest
from control_plane.domain.isolation import ISOLATIONS, Cloud, Isolation
from control_plane.provisioning import binary, module, stacks
from control_plane.provisioning.accounts import Clouds
from control_plane.provisioning.binary import Terraform
from control_plane.provisioning.port import ObservedPlan
from control_plane.provisioning.projection import projection
from control_plane.provisioning.provisioner import TerraformProvisioner
from control_plane.provisioning.runner import RunnerSettings
from control_plane.provisioning.site import Sites
from control_plane.provisioning.stacks import StackRequest
from tests.control_plane.provisioning.modules.test_lifecycle import (
    clouds_with,
    request_for,
    unlocked,
)
from tests.support.recorded_plans import recorded, shipped
from tests.support.slices import sliced

Place: TypeAlias = tuple[Cloud, Isolation]

KEY: Final = b"k" * 32
AFAR: Final = sorted(
    (one for one in shipped() if one[0] != "local"), key=lambda one: one != ("aws", "pooled")
)
RECORDED: Final = sorted(shipped(), key=lambda one: one != ("aws", "silo"))


@pytest.fixture(scope="module")
def terraform() -> Terraform:
    return binary.find(None, os.environ["PATH"])


def observe(
    terraform: Terraform,
    root: Path,
    request: StackRequest,
    folder: Path,
    clouds: Clouds | None = None,
    key: bytes = KEY,
) -> ObservedPlan:
    """A plan of a module in that folder by a worker of its own."""
    sites = Sites(root, clouds or Clouds(), fetch_credentials=lambda _source: {"SECRET": str(root)})
    provisioner = TerraformProvisioner(
        terraform,
        RunnerSettings(),
        root,
        key,
        sites=sites,
        module_overrides={(request.cloud, request.isolation): folder},
    )
    return provisioner.observe(request)


# Plans of the same, again and again ----------------------------------------------------------


@pytest.mark.long_but_one
@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_three_plans_from_different_folders_agree(
    terraform: Terraform, tmp_path: Path, isolation: Isolation
) -> None:
    request = request_for("local", isolation)
    folders = [unlocked("local", isolation, tmp_path / f"module-{name}") for name in "abc"]
    root = tmp_path / "stacks"
    plans = [observe(terraform, root, request, folder) for folder in folders]
    assert {one.digest for one in plans} == {digest(plans[0].projection)}
    assert len({canonical(one.projection) for one in plans}) == 1
    # A state that lies elsewhere is another stack's place; nothing else of the plan differs.
    elsewhere = observe(terraform, tmp_path / "other", request, folders[0])
    differ = {
        name for name, value in plans[0].projection.items() if elsewhere.projection[name] != value
    }
    assert differ == {"site_digest"}


@pytest.mark.long
@pytest.mark.parametrize("place", sliced(AFAR, every=15), ids="-".join)
def test_three_plans_over_a_simulated_cloud_agree(
    terraform: Terraform, tmp_path: Path, place: Place
) -> None:
    request = request_for(*place)
    clouds = clouds_with(*place, tmp_path / "mirror")
    digests = {
        observe(
            terraform,
            tmp_path / "stacks",
            request,
            unlocked(*place, tmp_path / f"module-{name}"),
            clouds,
        ).digest
        for name in "abc"
    }
    assert len(digests) == 1


@pytest.mark.sweep
@pytest.mark.parametrize(("cloud", "isolation"), AFAR)
def test_an_account_that_says_something_else_makes_another_plan(
    terraform: Terraform, tmp_path: Path, cloud: Cloud, isolation: Isolation
) -> None:
    request = request_for(cloud, isolation)
    folder = unlocked(cloud, isolation, tmp_path / "module")
    clouds = clouds_with(cloud, isolation, tmp_path / "mirror")
    account = clouds.accounts[cloud]
    shared = {request.region: {**account.shared[request.region], "one_more": "x"}}
    changed = [
        account,
        account.model_copy(update={"shared": shared}),
        account.model_copy(update={"provider": dict.fromkeys(account.provider, "another")}),
    ]
    digests = [
        observe(
            terraform,
            tmp_path / "stacks",
            request,
            folder,
            clouds.model_copy(update={"accounts": {cloud: one}}),
        ).digest
        for one in changed
    ]
    assert len(set(digests)) == len(changed)


# Each input of a local stack -----------------------------------------------------------------

OTHERS: Final[dict[str, Any]] = {
    "tenant": "globex",
    "plan": "basic",
    "region": "us",
    "size": "large",
    "workspace": "ffffffff",
    "isolation": "bridge",
}


@pytest.mark.long
def test_each_field_of_a_request_that_a_module_is_given_makes_another_plan(
    terraform: Terraform, tmp_path: Path
) -> None:
    root, request = tmp_path / "stacks", request_for("local", "silo")
    changed = [request, *(request.model_copy(update={name: to}) for name, to in OTHERS.items())]
    plans = [
        observe(terraform, root, one, stacks.module_path(one, {})).projection for one in changed
    ]
    # The place of the state tells two apart in any case: it is what else differs that counts.
    bare = [canonical({**one, "site_digest": ""}) for one in plans]
    assert len(set(bare)) == len(changed)
    assert set(StackRequest.model_fields) == {*OTHERS, "run_id", "cloud"}


def test_the_run_that_asks_makes_no_other_plan_and_the_workers_key_does(
    terraform: Terraform, tmp_path: Path
) -> None:
    root, request = tmp_path / "stacks", request_for("local", "silo")
    folder = stacks.module_path(request, {})
    first = observe(terraform, root, request, folder)
    again = request.model_copy(update={"run_id": "run-2"})
    assert observe(terraform, root, again, folder).digest == first.digest
    assert observe(terraform, root, request, folder, key=b"j" * 32).digest != first.digest


def renamed(folder: Path) -> None:
    (folder / "main.tf").rename(folder / "other.tf")


def appended(name: str, content: bytes) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        with (folder / name).open("ab") as file:
            file.write(content)

    return change


CHANGES: Final[dict[str, Callable[[Path], None]]] = {
    "comment": appended("main.tf", b"# more\n"),
    "space": appended("main.tf", b" "),
    "line end": appended("main.tf", b"\r\n"),
    "block": appended("main.tf", b"locals {\n  more = 1\n}\n"),
    "text": appended("README.md", b"."),
    "lock": appended(module.LOCK_FILE, b"# more\n"),
    "more files": appended("more.tf", b""),
    "file's name": renamed,
    "fewer files": lambda folder: (folder / "versions.tf").unlink(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("place", sliced(RECORDED, every=18), ids="-".join)
def test_each_kind_of_change_to_a_module_makes_it_another(
    tmp_path: Path, place: Place, change: Callable[[Path], None]
) -> None:
    folder = Path(shutil.copytree(stacks.MODULES.joinpath(*place), tmp_path / "module"))
    before = module.tree_digest(folder)
    change(folder)
    assert module.tree_digest(folder) != before


def test_a_comment_in_a_module_makes_another_plan(terraform: Terraform, tmp_path: Path) -> None:
    request = request_for("local", "pooled")
    folder = unlocked("local", "pooled", tmp_path / "module")
    first = observe(terraform, tmp_path / "stacks", request, folder)
    CHANGES["comment"](folder)
    assert observe(terraform, tmp_path / "stacks", request, folder).digest != first.digest


NAMES: Final = st.text(alphabet="ab/.", min_size=1, max_size=4).map(Path)
FILES: Final = st.dictionaries(NAMES, st.binary(max_size=6), max_size=4)


@given(FILES, FILES)
def test_two_modules_have_one_digest_only_where_they_are_the_same(
    one: dict[Path, bytes], other: dict[Path, bytes]
) -> None:
    assert (module.digest_of(one) == module.digest_of(other)) == (one == other)
    backwards = dict(reversed(one.items()))
    assert module.digest_of(backwards) == module.digest_of(one)


# The projection of recorded plans ------------------------------------------------------------


def plan_of(cloud: Cloud = "aws", isolation: Isolation = "silo") -> dict[str, Any]:
    return {"terraform_version": "1.11.4", "output_changes": {}, **recorded(cloud, isolation)}


def projected(
    plan: dict[str, Any], lock: str = "0" * 64, tree: str = "1" * 64, key: bytes = KEY
) -> str:
    return digest(projection(plan, lock, tree, key))


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value that holds no other."""
    if isinstance(value, dict) and value:
        for name, one in cast("dict[str, Any]", value).items():
            yield from leaves(one, (*path, name))
    elif isinstance(value, list) and value:
        listed: list[Any] = cast("Any", value)
        for place, one in enumerate(listed):
            yield from leaves(one, (*path, place))
    else:
        yield path


def altered(plan: dict[str, Any], path: tuple[Any, ...]) -> dict[str, Any]:
    """The same plan with another value at one place."""
    other = copy.deepcopy(plan)
    inner: Any = other
    for step in path[:-1]:
        inner = inner[step]
    before = inner[path[-1]]
    if isinstance(before, bool):
        inner[path[-1]] = not before
    else:
        inner[path[-1]] = f"{before}~" if isinstance(before, str) else [repr(before)]
    return other


def is_covered(path: tuple[Any, ...]) -> bool:
    """All but what an address says already: the mode and the resource's own name."""
    return path[0] == "variables" or path[2] not in {"mode", "name"}


@pytest.mark.long_but_one
@pytest.mark.parametrize("place", sliced(RECORDED, every=9), ids="-".join)
def test_each_value_of_a_recorded_plan_is_covered(place: Place) -> None:
    plan = plan_of(*place)
    # What is read or left alone is no part of what would be done.
    plan["resource_changes"] = [
        one for one in plan["resource_changes"] if one["change"]["actions"] == ["create"]
    ]
    covered = {name: plan[name] for name in ("variables", "resource_changes")}
    paths = [path for path in leaves(covered) if is_covered(path)]
    digests = {projected(altered(plan, path)) for path in paths}
    assert len(paths) > 20
    assert projected(plan) not in digests
    assert len(digests) == len(paths)


@pytest.mark.parametrize(
    "change",
    [
        {"terraform_version": "1.11.5"},
        {"output_changes": {"x": {"actions": ["create"], "after": 1, "after_sensitive": False}}},
        {"resource_changes": []},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_else_a_plan_says_is_covered(change: dict[str, Any]) -> None:
    assert projected(plan_of() | change) != projected(plan_of())


def test_locks_modules_and_keys_are_covered() -> None:
    plan = plan_of()
    plan["resource_changes"][0]["change"]["after_sensitive"] = True
    digests = {
        projected(plan),
        projected(plan, lock="2" * 64),
        projected(plan, tree="2" * 64),
        projected(plan, key=b"j" * 32),
        projected(plan_of()),
    }
    assert len(digests) == 5


@pytest.mark.parametrize("place", sliced(RECORDED, every=9), ids="-".join)
def test_what_differs_from_run_to_run_is_not_covered(place: Place) -> None:
    plan = plan_of(*place)
    other: dict[str, Any] = json.loads(json.dumps(plan, sort_keys=True), parse_float=Decimal)
    other["resource_changes"].reverse()
    other |= {
        "timestamp": "2026-11-22T00:00:00Z",
        "prior_state": {"values": {}},
        "resource_drift": [],
        "relevant_attributes": [{"resource": "x", "attribute": ["id"]}],
        "format_version": "9",
    }
    assert projected(other) == projected(plan)


@given(st.text(), st.text())
def test_a_sensitive_value_is_covered_without_being_shown(one: str, other: str) -> None:
    def plan(value: str) -> dict[str, Any]:
        change = {"actions": ["create"], "after": {"x": value}, "after_sensitive": {"x": True}}
        made = {"address": "t.x", "type": "t", "change": change}
        return {"terraform_version": "1.11.4", "resource_changes": [made]}

    assert (projected(plan(one)) == projected(plan(other))) == (one == other)

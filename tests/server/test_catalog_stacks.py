"""A workspace's own stacks among its catalog's files: which are taken, and each that is refused. Not what they make."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from control_plane.domain.isolation import CLOUDS, ISOLATIONS
from control_plane.errors import BadInput
from control_plane.provisioning import stacks
from server.catalog import write_sample
from server.catalog_check import read_working
from server.catalog_stacks import own_stacks, stack_files, stack_folders

LOCAL = stacks.MODULES / "local"


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    """A catalog with one stack of its own."""
    shutil.copytree(LOCAL / "silo", tmp_path / "catalog" / "stacks" / "local" / "silo")
    return tmp_path / "catalog"


def refused(catalog: Path) -> BadInput:
    with pytest.raises(BadInput) as error:
        stack_files(catalog)
    return error.value


def test_a_catalog_without_stacks_has_none(tmp_path: Path) -> None:
    assert stack_files(tmp_path) == []
    assert stack_folders(tmp_path) == []
    assert own_stacks(tmp_path) == {}


def test_the_files_of_each_stack_are_named_in_order(catalog: Path) -> None:
    place = catalog / "stacks" / "local" / "silo"
    (place / "README.md").write_text("Ours.")
    (place / ".terraform.lock.hcl").write_text("")
    shipped = [one.name for one in (LOCAL / "silo").iterdir()]
    names = sorted(["README.md", ".terraform.lock.hcl", *shipped])
    assert stack_files(catalog) == [f"stacks/local/silo/{name}" for name in sorted(set(names))]
    assert own_stacks(catalog) == {("local", "silo"): place}


@pytest.mark.parametrize(
    "name",
    [
        "terraform.tfvars",
        "x.auto.tfvars",
        "x.tfvars.json",
        "main.tf.json",
        "x.tftest.hcl",
        "terraform.tfstate",
        ".terraform",
        ".hidden.tf",
        "script.sh",
        "main.tf~",
        "a b.tf",
        "main.tf\n",
        "ü.tf",
        "x" * 70 + ".tf",
    ],
)
def test_any_other_file_in_a_stack_is_refused_by_its_name(catalog: Path, name: str) -> None:
    (catalog / "stacks" / "local" / "silo" / name).write_text("")
    assert refused(catalog).field == f"stacks/local/silo/{name}"


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("nimbus/silo", "stacks/nimbus"),
        ("local/shared", "local/shared"),
        ("LOCAL/silo", "stacks/LOCAL"),
    ],
)
def test_a_cloud_or_model_that_is_not_known_is_refused(
    catalog: Path, path: str, field: str
) -> None:
    (catalog / "stacks" / path).mkdir(parents=True)
    error = refused(catalog)
    assert error.field == field
    assert "one of" in error.rule


@pytest.mark.parametrize("level", ["stacks", "stacks/local", "stacks/local/silo"])
def test_a_folder_that_is_reached_by_a_link_is_refused(catalog: Path, level: str) -> None:
    real = catalog / level
    real.rename(catalog.parent / "elsewhere")
    real.symlink_to(catalog.parent / "elsewhere")
    assert "link" in refused(catalog).rule


@pytest.mark.parametrize("level", ["stacks/aws", "stacks/local/pooled"])
def test_a_file_in_the_place_of_a_folder_is_refused(catalog: Path, level: str) -> None:
    (catalog / level).write_text("")
    assert "folders" in refused(catalog).rule


def test_there_are_at_most_fifty_files_in_a_stack(catalog: Path) -> None:
    place = catalog / "stacks" / "local" / "silo"
    for number in range(50 - len(list(place.iterdir()))):
        (place / f"more_{number}.tf").write_text("")
    assert len(stack_files(catalog)) == 50
    (place / "one_more.tf").write_text("")
    assert "at most 50" in refused(catalog).rule


def test_a_stack_that_lacks_something_is_named_with_what_it_lacks(catalog: Path) -> None:
    place = catalog / "stacks" / "local" / "silo"
    (place / "outputs.tf").unlink()
    with pytest.raises(BadInput) as error:
        own_stacks(catalog)
    assert error.value.field == "stacks/local/silo: output database"


def test_each_shipped_stack_can_stand_in_a_catalog(tmp_path: Path) -> None:
    shutil.copytree(
        stacks.MODULES, tmp_path / "stacks", ignore=shutil.ignore_patterns(".terraform")
    )
    every = {(cloud, isolation) for cloud in CLOUDS for isolation in ISOLATIONS}
    assert set(stack_folders(tmp_path)) == every
    assert set(own_stacks(tmp_path)) == every
    assert len(stack_files(tmp_path)) >= 3 * len(every)


def test_what_the_commands_read_has_the_stacks_too(catalog: Path, tmp_path: Path) -> None:
    sample = tmp_path / "sample"
    write_sample(sample)
    shutil.copytree(catalog / "stacks", sample / "stacks")
    files, unread = read_working(sample)
    assert unread == ()
    assert {name for name in files if name.startswith("stacks/")} == set(stack_files(sample))

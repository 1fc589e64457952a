"""A bundle: deterministic, stamped, read-only, and rebuilt when somebody touched it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent import futures
from pathlib import Path

import pytest
import yaml

from policies.bundle import Bundle, build_bundle, load_bundle
from policies.errors import BundleError

POLICIES = Path(__file__).parents[2] / "policies" / "cerbos"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return Path(shutil.copytree(POLICIES, tmp_path / "source"))


def content(bundle: Bundle) -> dict[str, bytes]:
    files = [path for path in bundle.directory.rglob("*") if path.is_file()]
    return {path.relative_to(bundle.directory).as_posix(): path.read_bytes() for path in files}


def test_the_same_sources_give_the_same_bytes_anywhere(source: Path, tmp_path: Path) -> None:
    first = build_bundle([POLICIES], tmp_path / "a")
    second = build_bundle([source], tmp_path / "b")
    assert first.digest == second.digest
    assert content(first) == content(second)
    assert first.version == f"d{first.digest[:16]}"
    assert first.directory == tmp_path / "a" / first.digest


def test_every_policy_is_stamped_and_tests_are_left_out(tmp_path: Path) -> None:
    bundle = build_bundle([POLICIES], tmp_path)
    policies = {path: data for path, data in content(bundle).items() if path.endswith(".yaml")}
    assert "tenant.yaml" in policies
    assert not any("test" in path for path in content(bundle))
    for data in policies.values():
        assert yaml.safe_load(data)["resourcePolicy"]["version"] == bundle.version


def test_a_change_gives_another_digest(source: Path, tmp_path: Path) -> None:
    before = build_bundle([source], tmp_path / "b")
    schema = source / "_schemas" / "record.json"
    schema.write_text(schema.read_text().replace('"read_only",', '"read_only", "frozen",'))
    after = build_bundle([source], tmp_path / "b")
    assert after.digest != before.digest
    assert load_bundle(tmp_path / "b", before.digest) == before


def test_a_test_file_is_no_change(source: Path, tmp_path: Path) -> None:
    before = build_bundle([source], tmp_path / "b")
    (source / "tests").mkdir(exist_ok=True)
    (source / "tests" / "more_test.yaml").write_text("name: more\n")
    (source / "other_test.yaml").write_text("name: other\n")
    assert build_bundle([source], tmp_path / "b") == before


def test_a_bundle_is_read_only_and_kept(tmp_path: Path) -> None:
    bundle = build_bundle([POLICIES], tmp_path)
    for path in [bundle.directory, *bundle.directory.rglob("*")]:
        assert path.stat().st_mode & 0o222 == 0
    inode = bundle.directory.stat().st_ino
    assert build_bundle([POLICIES], tmp_path).directory.stat().st_ino == inode
    assert [path.name for path in tmp_path.iterdir() if path.name != ".lock"] == [bundle.digest]


def _edit(directory: Path) -> None:
    policy = directory / "record.yaml"
    policy.chmod(0o600)
    policy.write_bytes(policy.read_bytes().replace(b"EFFECT_DENY", b"EFFECT_ALLOW"))


def _add(directory: Path) -> None:
    directory.chmod(0o700)
    (directory / "extra.yaml").write_text("a: b\n")


def _take(directory: Path) -> None:
    directory.chmod(0o700)
    (directory / "tenant.yaml").unlink()


def _link(directory: Path) -> None:
    directory.chmod(0o700)
    (directory / "tenant.yaml").rename(directory.parent / "moved.yaml")
    (directory / "tenant.yaml").symlink_to(directory.parent / "moved.yaml")


@pytest.mark.parametrize("tamper", [_edit, _add, _take, _link])
def test_a_tampered_bundle_is_not_loaded_and_is_built_anew(
    tmp_path: Path, tamper: Callable[[Path], None]
) -> None:
    bundle = build_bundle([POLICIES], tmp_path)
    before = content(bundle)
    tamper(bundle.directory)
    with pytest.raises(BundleError):
        load_bundle(tmp_path, bundle.digest)
    assert build_bundle([POLICIES], tmp_path) == bundle
    assert content(bundle) == before
    assert load_bundle(tmp_path, bundle.digest) == bundle


def test_a_bundle_under_another_name_is_not_loaded(tmp_path: Path) -> None:
    bundle = build_bundle([POLICIES], tmp_path)
    shutil.copytree(bundle.directory, tmp_path / ("0" * 64))
    for digest in ("0" * 64, "1" * 64):
        with pytest.raises(BundleError):
            load_bundle(tmp_path, digest)


def test_many_builders_agree(tmp_path: Path) -> None:
    with futures.ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(build_bundle, [POLICIES], tmp_path) for _ in range(8)]
        built = {one.result(30) for one in asked}
    assert len(built) == 1


def test_two_sources_are_one_bundle(source: Path, tmp_path: Path) -> None:
    more = tmp_path / "more"
    more.mkdir()
    (source / "record.yaml").rename(more / "record.yaml")
    joined = build_bundle([source, more], tmp_path / "b")
    assert joined.digest == build_bundle([POLICIES], tmp_path / "b").digest
    (source / "record.yaml").write_bytes((more / "record.yaml").read_bytes())
    with pytest.raises(BundleError, match="two sources"):
        build_bundle([source, more], tmp_path / "b")


@pytest.mark.parametrize(
    "text", ["a: 1\na: 2\n", "- 1\n", "a: [\n", "a: 1\n---\nb: 2\n", "a: !!python/object:x {}\n"]
)
def test_a_file_that_is_not_one_plain_document_is_refused(
    source: Path, tmp_path: Path, text: str
) -> None:
    (source / "odd.yaml").write_text(text)
    with pytest.raises(BundleError, match=r"odd\.yaml"):
        build_bundle([source], tmp_path / "b")


def test_no_source_is_no_bundle(source: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for sources in ([], [empty], [tmp_path / "ghost"]):
        with pytest.raises(BundleError):
            build_bundle(sources, tmp_path / "b")
    (source / "link.yaml").symlink_to(source / "tenant.yaml")
    with pytest.raises(BundleError, match="link"):
        build_bundle([source], tmp_path / "b")

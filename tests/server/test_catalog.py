"""Only the applied catalog runs, and only unaltered. Not what a plan or collection means."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from control_plane.audit.recorder import LeafRecorder
from control_plane.domain.coupon_catalog import NO_COUPONS
from control_plane.errors import BadInput, PaybillError, Unavailable
from control_plane.ports import Store
from control_plane.secrets.box import new_keypair
from server import catalog
from server.clock import SystemClock
from server.ids import RandomIds
from server.opening import create_store

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = create_store(tmp_path / "store.db")
    yield made
    made.close()


@pytest.fixture
def working(tmp_path: Path) -> Path:
    catalog.write_sample(tmp_path / "catalog")
    return tmp_path / "catalog"


def applied(store: Store, tmp_path: Path, working: Path) -> catalog.Catalog:
    with store.write() as connection:
        recorder = LeafRecorder(new_keypair()[1], SystemClock(), RandomIds())
        return catalog.apply(connection, tmp_path / "catalogs", working, NOW, recorder)


def in_force(store: Store, tmp_path: Path) -> catalog.Catalog:
    with store.read() as connection:
        return catalog.load_applied(connection, tmp_path / "catalogs")


def test_the_sample_is_a_valid_catalog(working: Path) -> None:
    loaded = catalog.load(working)
    assert "contacts" in loaded.collections
    assert loaded.plans.offer("free").name == "free"
    assert loaded.coupons.coupon("WELCOME20").intervals == 3
    assert loaded.policy_folder is None


def test_working_files_have_no_effect_until_applied(
    store: Store, tmp_path: Path, working: Path
) -> None:
    first = applied(store, tmp_path, working)
    (working / "collections" / "contacts.yaml").unlink()
    assert in_force(store, tmp_path) == first
    second = applied(store, tmp_path, working)
    assert second.digest != first.digest
    assert set(in_force(store, tmp_path).collections) == {"currencies"}


def test_the_digest_covers_every_path_and_byte(working: Path) -> None:
    files = catalog.read_files(working)
    seen = {catalog.digest_of(files), catalog.digest_of({**files, "policies/x.yaml": b""})}
    for name, content in files.items():
        seen.add(catalog.digest_of({**files, name: content + b"\n"}))
    assert len(seen) == 2 + len(files)


def test_an_altered_copy_does_not_run(store: Store, tmp_path: Path, working: Path) -> None:
    made = applied(store, tmp_path, working)
    copy = tmp_path / "catalogs" / made.digest
    (copy / "plans.yaml").write_text("plans: []\n")
    with pytest.raises(Unavailable) as caught:
        in_force(store, tmp_path)
    assert caught.value.code == "catalog_altered"
    assert applied(store, tmp_path, working) == in_force(store, tmp_path) == made


def test_without_an_applied_catalog_nothing_runs(store: Store, tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as caught:
        in_force(store, tmp_path)
    assert caught.value.code == "catalog_absent"


def test_a_broken_catalog_leaves_the_applied_one(
    store: Store, tmp_path: Path, working: Path
) -> None:
    made = applied(store, tmp_path, working)
    (working / "collections" / "contacts.yaml").write_text("name: [\n")
    with pytest.raises(PaybillError, match=r"contacts\.yaml"):
        applied(store, tmp_path, working)
    assert in_force(store, tmp_path) == made
    assert [path.name for path in (tmp_path / "catalogs").iterdir()] == [made.digest]


def test_a_catalog_may_be_without_coupons(working: Path) -> None:
    (working / "coupons.yaml").unlink()
    assert catalog.load(working).coupons == NO_COUPONS


def test_a_coupon_for_a_plan_that_is_not_declared_is_refused(working: Path) -> None:
    coupon = "{code: ONE, title: One, percent_off: 5, duration: once, plans: [nope]}"
    (working / "coupons.yaml").write_text(f"coupons:\n  - {coupon}\n")
    with pytest.raises(BadInput, match=r"coupons\[0\]\.plans"):
        catalog.load(working)


@pytest.mark.parametrize(
    "name", ["plans.yaml", "coupons.yaml", "collections/contacts.yaml", "collections"]
)
def test_a_link_in_the_catalog_is_refused(tmp_path: Path, working: Path, name: str) -> None:
    (working / name).rename(tmp_path / "elsewhere")
    (working / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PaybillError):
        catalog.load(working)


def test_extra_policies_belong_to_the_digest(working: Path) -> None:
    before = catalog.load(working)
    (working / "policies").mkdir()
    (working / "policies" / "extra.yaml").write_text("a: 1\n")
    after = catalog.load(working)
    assert after.digest != before.digest
    assert after.policy_folder == working / "policies"

"""The catalog: what a workspace declares, as working files and as it is applied. Not a plan or collection itself.

A server runs only the applied one: a copy in the state folder, under the digest that the store says.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Final, Literal, TypeAlias

from sqlalchemy import Connection

import policies
from control_plane.billing.tax_file import Taxation, parse_tax
from control_plane.data.collection import SAMPLES, Collection, load_collections
from control_plane.domain.canonical import instant
from control_plane.domain.coupon_catalog import (
    NO_COUPONS,
    CouponCatalog,
    parse_coupons,
    require_plans,
)
from control_plane.domain.plans import PlanCatalog, parse_plans
from control_plane.errors import BadInput, PaybillError, Unavailable
from control_plane.facts.row import row_schemas
from control_plane.fleet.migration_file import FOLDER as MIGRATIONS
from control_plane.fleet.migration_file import Migration, load_migrations, migration_names
from control_plane.handlers.catalog_in_force import applied_digest, put_in_force
from control_plane.ports import Recorder
from policies.bundle import Bundle, build_bundle
from policies.errors import BundleError
from policies.row_policies import ROWS_PREFIX, named_attributes
from server.catalog_stacks import own_stacks, stack_files
from server.private_files import (
    make_private_folder,
    read_plain_file,
    require_own_folder,
    sync_folder,
    write_new_file,
)
from tools.toolbox import check_names

Sample: TypeAlias = Literal["contacts", "helpdesk"]

FILES_MAX: Final = 600
FILE_BYTES_MAX: Final = 1_048_576
_PLANS = "plans.yaml"
COUPONS: Final = "coupons.yaml"
TAX: Final = "tax.yaml"
OPTIONAL: Final = frozenset({COUPONS, TAX})
"""The files that a catalog may leave out."""
_COLLECTIONS, _POLICIES = "collections", "policies"
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_DOMAIN: Final = b"paybill-catalog-1"


@dataclass(frozen=True, slots=True)
class Catalog:
    """One reading of a catalog. `policy_folder` holds extra policies, or is None."""

    digest: str
    plans: PlanCatalog
    coupons: CouponCatalog
    tax: Taxation | None
    collections: Mapping[str, Collection]
    policy_folder: Path | None
    row_rules: Mapping[str, frozenset[str]]
    stacks: Mapping[tuple[str, str], Path]
    """The workspace's own stacks; what is not there is a shipped one."""
    migrations: tuple[Migration, ...] = ()
    """The team's changes of tenants' databases, in order."""

    def bundle(self, into: Path) -> Bundle:
        """The policies that this catalog is decided by: ours, its own, and the schemas of its rows.

        Raises BundleError with every finding.
        """
        generated = row_schemas(self.collections, self.row_rules)
        return build_bundle(policy_sources(self.policy_folder), into, generated)


def write_sample(folder: Path, sample: Sample = "contacts") -> None:
    """Write a sample catalog into a folder that is not there yet; FileExistsError when it is."""
    folder.mkdir()
    write_new_file(folder / _PLANS, (SAMPLES / _PLANS).read_bytes(), mode=0o644)
    coupons = (SAMPLES / "billing" / COUPONS).read_bytes()
    write_new_file(folder / COUPONS, coupons, mode=0o644)
    if sample == "contacts":
        _copy_yaml(SAMPLES, folder / _COLLECTIONS)
        return
    for part in (_COLLECTIONS, _POLICIES):
        _copy_yaml(SAMPLES / sample / part, folder / part)


def policy_sources(extra: Path | None) -> list[Path]:
    """The folders of policy files: ours, and the catalog's where it has some."""
    shipped = Path(policies.__file__).parent / "cerbos"
    return [shipped] if extra is None else [shipped, extra]


def load(folder: Path) -> Catalog:
    """Read the working files. Raises BadInput naming the file, the field and the rule."""
    return _parsed(folder, digest_of(read_files(folder)), proved=False)


def apply(
    connection: Connection, catalogs: Path, folder: Path, now: datetime, recorder: Recorder
) -> Catalog:
    """Copy the working files under `catalogs`, and say in the store, with a leaf, that they hold.

    The copy stands before the setting does; a copy that no setting names is harmless. Raises
    BadInput; nothing is applied then.
    """
    catalog = keep_copy(catalogs, read_files(folder))
    put_in_force(connection, recorder, catalog.digest, "", instant(now))
    return catalog


def keep_copy(catalogs: Path, files: Mapping[str, bytes]) -> Catalog:
    """Write files to `catalogs/<digest>/` when they make a valid catalog, whole or not at all."""
    make_private_folder(catalogs)
    digest = digest_of(files)
    target = catalogs / digest
    draft = catalogs / f".new-{secrets.token_hex(8)}"
    try:
        _write_tree(draft, files)
        _parsed(draft, digest, proved=False)
        if target.exists() and not _intact(target, digest):
            shutil.rmtree(target)
        if not target.exists():
            draft.rename(target)
            sync_folder(catalogs)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return _parsed(target, digest)


def load_applied(connection: Connection, catalogs: Path) -> Catalog:
    """The catalog in force, proved by its digest.

    Raises Unavailable (`catalog_absent`, `catalog_altered`).
    """
    digest = applied_digest(connection)
    if digest is None:
        raise Unavailable("no catalog is applied", code="catalog_absent")
    return load_kept(catalogs, digest)


def load_kept(catalogs: Path, digest: str) -> Catalog:
    """A catalog that is or was in force, proved by its digest. Errors as `load_applied`."""
    target = catalogs / digest
    if not _DIGEST.fullmatch(digest) or not target.is_dir():
        raise Unavailable("the catalog's files are gone", code="catalog_absent")
    require_own_folder(target)
    if not _intact(target, digest):
        raise Unavailable("the catalog's files were altered", code="catalog_altered")
    return _parsed(target, digest)


def standing_digest(connection: Connection, catalogs: Path) -> str | None:
    """The digest of the applied catalog's files as they lie there now; None when they do not read.

    For an auditor: what the store says of them only tells where they lie.
    """
    try:
        said = applied_digest(connection)
        if said is None or not _DIGEST.fullmatch(said):
            return None
        return digest_of(read_files(catalogs / said))
    except (PaybillError, OSError, ValueError):
        return None


def read_files(folder: Path) -> dict[str, bytes]:
    """Every file of a catalog, by its path with forward slashes. No links; bounded. Raises BadInput."""
    if not folder.is_dir():
        raise BadInput("catalog", "must be a folder with plans.yaml in it")
    files: dict[str, bytes] = {}
    parts = (
        *_names(folder / _COLLECTIONS),
        *_names(folder / _POLICIES),
        *stack_files(folder),
        *migration_files(folder),
    )
    for name in (_PLANS, *sorted(OPTIONAL), *parts):
        path = folder / name
        if path.parent.is_symlink():
            raise BadInput(name, "must not be reached by a link")
        try:
            files[name], _ = read_plain_file(path, bytes_max=FILE_BYTES_MAX)
        except FileNotFoundError:
            if name not in OPTIONAL:
                raise BadInput(name, "must be there") from None
    return files


def migration_files(folder: Path) -> list[str]:
    """The migrations among a catalog's files, by path with forward slashes."""
    return [f"{MIGRATIONS}/{name}" for name in migration_names(_listed(folder / MIGRATIONS))]


def migration_texts(folder: Path) -> dict[str, bytes]:
    """The texts of a catalog's migrations, by their bare names. Raises BadInput."""
    return {
        name.removeprefix(f"{MIGRATIONS}/"): read_plain_file(
            folder / name, bytes_max=FILE_BYTES_MAX
        )[0]
        for name in migration_files(folder)
    }


def digest_of(files: Mapping[str, bytes]) -> str:
    """SHA-256 over the sorted (path, bytes) pairs, each with its length before it."""
    total = hashlib.sha256(_DOMAIN)
    for path, content in sorted(files.items()):
        for part in (path.encode(), content):
            total.update(len(part).to_bytes(8, "big"))
            total.update(part)
    return total.hexdigest()


def _copy_yaml(source: Path, folder: Path) -> None:
    folder.mkdir()
    for file in sorted(source.glob("*.yaml")):
        if file.name != _PLANS:
            write_new_file(folder / file.name, file.read_bytes(), mode=0o644)


def _names(folder: Path) -> list[str]:
    return [f"{folder.name}/{name}" for name in _listed(folder) if name.endswith(".yaml")]


def _listed(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        found = [entry.name for entry in islice(entries, FILES_MAX + 1)]
    if len(found) > FILES_MAX:
        raise BadInput(folder.name, f"must have at most {FILES_MAX} files")
    return sorted(found)


def _parsed(folder: Path, digest: str, *, proved: bool = True) -> Catalog:
    own = folder / _POLICIES
    own_policies = own if own.is_dir() else None
    collections = {one.name: one for one in load_collections(folder / _COLLECTIONS)}
    row_rules = {} if own_policies is None else _row_rules(own_policies)
    row_schemas(collections, row_rules)
    check_names(collections)
    plans = parse_plans(_text(folder / _PLANS), _PLANS)
    return Catalog(
        digest=digest,
        plans=plans,
        coupons=_coupons(folder / COUPONS, plans),
        tax=parse_tax(_text(folder / TAX), TAX).taxation() if (folder / TAX).exists() else None,
        collections=collections,
        policy_folder=own_policies,
        row_rules=row_rules,
        stacks=own_stacks(folder),
        migrations=_migrations(folder, set(collections), proved=proved),
    )


def _migrations(folder: Path, declared: set[str], *, proved: bool) -> tuple[Migration, ...]:
    files = migration_texts(folder)
    if proved or not files:
        # What is kept was checked before, and its digest says that it is the same.
        return load_migrations(files)
    from control_plane.fleet.checker import require_sound

    return require_sound(files, declared)


def _coupons(path: Path, plans: PlanCatalog) -> CouponCatalog:
    if not path.exists():
        return NO_COUPONS
    coupons = parse_coupons(_text(path), COUPONS)
    require_plans(coupons, (one.name for one in plans.plans), COUPONS)
    return coupons


def _row_rules(folder: Path) -> dict[str, frozenset[str]]:
    try:
        named = named_attributes(folder)
    except BundleError as error:
        raise BadInput(_POLICIES, str(error)) from None
    return {kind.removeprefix(ROWS_PREFIX): fields for kind, fields in named.items()}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise BadInput(path.name, "must be UTF-8") from None


def _write_tree(folder: Path, files: Mapping[str, bytes]) -> None:
    folder.mkdir(mode=0o700)
    for name, content in files.items():
        make_private_folder((folder / name).parent)
        write_new_file(folder / name, content)


def _intact(folder: Path, digest: str) -> bool:
    try:
        return digest_of(read_files(folder)) == digest
    except BadInput:
        return False

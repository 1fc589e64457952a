"""A migration as its files say it: number, name, header, and a text for each engine. Not what a text may say."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from control_plane.errors import BadInput
from control_plane.fleet.finding import Finding
from control_plane.fleet.header import STEM, Header, read_header

Dialect: TypeAlias = Literal["postgres", "sqlite"]

DIALECTS: Final[tuple[Dialect, ...]] = ("postgres", "sqlite")
FOLDER: Final = "migrations"
FILES_MAX: Final = 600
_NAME: Final = re.compile(rf"({STEM})(?:\.(postgres|sqlite))?\.sql")
_DOMAIN: Final = b"paybill-migration-1"


@dataclass(frozen=True, slots=True)
class Variant:
    """One engine's text of a migration, with the header in front of it."""

    file: str
    text: str
    header: Header


@dataclass(frozen=True, slots=True)
class Migration:
    """One change. `digest` is over every file of it, so that an edited one is another one."""

    number: int
    name: str
    digest: str
    variants: Mapping[Dialect, Variant]

    def variant(self, dialect: Dialect) -> Variant:
        """What is applied on that engine."""
        return self.variants[dialect]

    @property
    def header(self) -> Header:
        """Phase and what it completes, on which all engines agree."""
        return self.variants["postgres"].header

    @property
    def is_contract(self) -> bool:
        """Whether it takes away what an expand has made superfluous."""
        return self.header.phase == "contract"


def migration_names(names: Sequence[str]) -> list[str]:
    """Those of a folder's names that could be migrations, sorted: every `*.sql`."""
    return sorted(name for name in names if name.endswith(".sql"))


def read_migrations(
    files: Mapping[str, bytes],
) -> tuple[tuple[Migration, ...], list[Finding]]:
    """The migrations in their order, and what is wrong with names and headers; none is read then.

    `files` are those of the folder by their bare names.
    """
    findings = list(_name_findings(files))
    variants: dict[str, dict[str, Variant]] = {}
    for file, content in sorted(files.items()):
        named = _NAME.fullmatch(file)
        if named is None:
            continue
        variant, wrong = _variant(file, content)
        findings += wrong
        if variant is not None:
            variants.setdefault(named[1], {})[named[2] or ""] = variant
    if findings:
        return (), sorted(findings)
    made = tuple(_migration(stem, variants[stem], files) for stem in sorted(variants))
    findings = sorted(_links(made))
    return ((), findings) if findings else (made, [])


def load_migrations(files: Mapping[str, bytes]) -> tuple[Migration, ...]:
    """The same, where nothing may be wrong. Raises BadInput with the first finding."""
    made, findings = read_migrations(files)
    for one in findings:
        raise BadInput(f"{FOLDER}/{one.file}", f"line {one.line}: {one.message}")
    return made


def _name_findings(files: Mapping[str, bytes]) -> Iterator[Finding]:
    if len(files) > FILES_MAX:
        yield Finding(FOLDER, 0, "name", f"must have at most {FILES_MAX} files")
    by_stem: dict[str, set[str]] = {}
    for file in sorted(files):
        named = _NAME.fullmatch(file)
        if named is None:
            yield Finding(file, 0, "name", "must be NNNN_words.sql, or NNNN_words.ENGINE.sql")
        else:
            by_stem.setdefault(named[1], set()).add(named[2] or "")
    for stem, found in sorted(by_stem.items()):
        if found not in ({""}, set(DIALECTS)):
            yield Finding(
                f"{stem}.sql", 0, "name", "must be one file, or one for each of postgres, sqlite"
            )
    for place, stem in enumerate(sorted(by_stem), start=1):
        if int(stem[:4]) != place:
            # A number that is missing may be a file that was forgotten.
            yield Finding(f"{stem}.sql", 0, "number", f"must be {place:04}: none is left out")
            return


def _variant(file: str, content: bytes) -> tuple[Variant | None, list[Finding]]:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return None, [Finding(file, 0, "text", "must be UTF-8")]
    if "\0" in text:
        return None, [Finding(file, 0, "text", "must hold no NUL")]
    header, findings = read_header(file, text)
    return (None if header is None else Variant(file, text, header)), findings


def _migration(stem: str, found: Mapping[str, Variant], files: Mapping[str, bytes]) -> Migration:
    total = hashlib.sha256(_DOMAIN)
    for variant in sorted(found.values(), key=lambda one: one.file):
        for part in (variant.file.encode(), files[variant.file]):
            total.update(len(part).to_bytes(8, "big"))
            total.update(part)
    variants: dict[Dialect, Variant] = {one: found.get(one) or found[""] for one in DIALECTS}
    return Migration(int(stem[:4]), stem, total.hexdigest(), variants)


def _links(made: Sequence[Migration]) -> Iterator[Finding]:
    by_name = {one.name: one for one in made}
    for one in made:
        first, second = (one.variants[dialect] for dialect in DIALECTS)
        if (first.header.phase, first.header.completes) != (
            second.header.phase,
            second.header.completes,
        ):
            yield Finding(second.file, 1, "header", "must say the same phase for every engine")
        for variant in dict.fromkeys((first, second)):
            yield from _link(one, variant, by_name)


def _link(one: Migration, variant: Variant, by_name: Mapping[str, Migration]) -> Iterator[Finding]:
    header = variant.header
    if header.completes is not None:
        begun = by_name.get(header.completes)
        if begun is None or begun.is_contract or begun.number >= one.number:
            yield Finding(variant.file, 1, "completes", "must be an expand that stands before it")
    if header.reversible_by is not None:
        back = by_name.get(header.reversible_by)
        if back is None or back.number <= one.number:
            yield Finding(
                variant.file, 1, "reversible_by", "must be a migration that stands behind it"
            )

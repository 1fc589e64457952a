"""What `catalog check` and `catalog plan` found, as rows of tables and as plain data. Finds nothing itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace

from control_plane.data.collection import Collection
from control_plane.domain.canonical import Json, plain
from control_plane.handlers.record_sight import group_actions
from policies.row_policies import READ_GROUP_PREFIX
from server.catalog_changes import CatalogChanges
from server.catalog_check import Checked
from server.catalog_mistakes import Mistake
from server.policy_difference import Change

DECLARED = ("collection", "fields", "verbs", "indexes", "row rules over", "groups")
MOVES = ("what", "phase", "move", "loses data", "message")
RIGHTS = ("role", "kind", "actions", "was", "becomes", "cases")
VOIDED = ("run", "approval", "tenant", "kind", "state", "requester")
DIGESTS = ("what", "applied", "folder")
OFFERS = ("plan", "version", "change")
COUPONS = ("coupon", "change")
TAX = ("tax", "applied", "folder")


def told(mistake: Mistake) -> str:
    """One line: `file:line: part: rule`, without what is not known."""
    place = f"{mistake.file}:{mistake.line}" if mistake.line else mistake.file
    return ": ".join(part for part in (place, mistake.part, mistake.rule) if part)


def declared_rows(checked: Checked) -> Iterator[tuple[str, ...]]:
    """A row a collection, as `DECLARED`."""
    for name, one in sorted(checked.collections.items()):
        named = checked.named.get(name)
        yield (
            name,
            str(len(one.fields)),
            ", ".join(one.offered_verbs),
            ", ".join("+".join(index) for index in one.indexes) or "none",
            "none" if named is None else ", ".join(sorted(named)) or "roles alone",
            ", ".join(_groups(one)) or "none",
        )


def plain_check(checked: Checked) -> Json:
    """All of it for a program."""
    return {
        "valid": not checked.mistakes,
        "mistakes": [_plain_mistake(one) for one in checked.mistakes],
        "notes": [_plain_mistake(one) for one in checked.notes],
        "plans": [{"name": one.name, "version": one.version} for one in checked.plans],
        "collections": [
            {
                "name": name,
                "reference": one.reference,
                "fields": [*one.fields],
                "verbs": [*one.offered_verbs],
                "indexes": [[*index] for index in one.indexes],
                "groups": _groups(one),
                "row_rules": None if (named := checked.named.get(name)) is None else sorted(named),
            }
            for name, one in sorted(checked.collections.items())
        ],
    }


def digest_rows(found: CatalogChanges) -> list[tuple[str, ...]]:
    """The digests, as `DIGESTS`."""
    return [
        ("catalog", found.before.catalog, found.after.catalog),
        ("policies", found.before.bundle, found.after.bundle),
    ]


def offer_rows(found: CatalogChanges) -> list[tuple[str, ...]]:
    """A row a version of a plan, as `OFFERS`."""
    return [(one.name, str(one.version), one.change) for one in found.offers]


def coupon_rows(found: CatalogChanges) -> list[tuple[str, ...]]:
    """A row a coupon, as `COUPONS`."""
    return [(one.code, one.change) for one in found.coupons]


def tax_rows(found: CatalogChanges) -> list[tuple[str, ...]]:
    """The rules of tax where they change, as `TAX`."""
    return [] if found.tax is None else [("rules", found.tax.before, found.tax.after)]


def move_rows(found: CatalogChanges) -> Iterator[tuple[str, ...]]:
    """A row a move, as `MOVES`."""
    for one in found.evolution.moves:
        loses = "yes" if one.loses_data else "no"
        yield one.name, one.phase, one.kind.replace("_", " "), loses, one.message
    for name in found.told:
        yield name, "none", "declared otherwise", "no", "In nothing that a database knows of."


def statement_lines(found: CatalogChanges) -> Iterator[str]:
    """The statements, each under the heading of its phase."""
    phase = ""
    for one in found.statements:
        if one.phase != phase:
            phase = one.phase
            yield f"Statements on {found.dialect}, {phase}:"
        yield f"  {one.text}"


def right_rows(found: CatalogChanges) -> Iterator[tuple[str, ...]]:
    """A row for what changes alike, with its actions, as `RIGHTS`."""
    alike: dict[Change, list[str]] = {}
    for one in found.rights:
        alike.setdefault(replace(one, action=""), []).append(one.action)
    for one, actions in alike.items():
        cases = f"{one.cases} ({one.count} of {one.total})" if one.total > 1 else one.cases
        yield one.role, one.kind, ", ".join(actions), one.was, one.becomes, cases


def voided_rows(found: CatalogChanges) -> Iterator[tuple[str, ...]]:
    """A row a run, as `VOIDED`."""
    for one in found.voided:
        yield one.run_id, one.approval_id or "none", one.tenant, one.kind, one.state, one.requester


def plain_plan(found: CatalogChanges) -> Json:
    """All of it for a program."""
    return {
        "nothing_to_do": found.nothing,
        "before": asdict(found.before),
        "after": asdict(found.after),
        "moves": [plain(one) for one in found.evolution.moves],
        "declared_otherwise": [*found.told],
        "statements": {found.dialect: [asdict(one) for one in found.statements]},
        "plans": [asdict(one) for one in found.offers],
        "coupons": [asdict(one) for one in found.coupons],
        "tax": None if found.tax is None else asdict(found.tax),
        "rights": [asdict(one) for one in found.rights],
        "voided": [asdict(one) for one in found.voided],
    }


def _plain_mistake(mistake: Mistake) -> Json:
    return asdict(mistake)


def _groups(collection: Collection) -> list[str]:
    return [name.removeprefix(READ_GROUP_PREFIX) for name in sorted(group_actions(collection))]

"""Mistakes of a catalog's plans, coupons and collections, every one that can be found. Not its policies', and no repair."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from control_plane.billing.tax_file import TaxFile
from control_plane.billing.tax_table import CountryRates, TaxRate, TaxTable
from control_plane.data.collection import COLLECTIONS_MAX, Collection
from control_plane.data.declaration_mistakes import misdeclarations
from control_plane.domain.charge import Charge
from control_plane.domain.coupon import Coupon
from control_plane.domain.coupon_catalog import PLAN_UNKNOWN, CouponCatalog
from control_plane.domain.dunning_policy import DunningPolicy, Rung
from control_plane.domain.entitlement import (
    BooleanEntitlement,
    MeteredEntitlement,
    StaticEntitlement,
)
from control_plane.domain.money import Money
from control_plane.domain.near_names import did_you_mean
from control_plane.domain.plan_fault import fault
from control_plane.domain.plans import AddOn, PlanCatalog, PlanOffer, Quotas, Trial
from control_plane.domain.prices import Flat, Package, PerSeat, Tier, Tiered, Volume
from control_plane.domain.strict_yaml import Document, Path, parse_document
from control_plane.domain.tax import TaxParty
from control_plane.errors import BadInput
from policies.sources import mapping, sequence
from tools.toolbox import check_names

PLANS: Final = "plans.yaml"
COUPONS: Final = "coupons.yaml"
TAX: Final = "tax.yaml"
COLLECTIONS: Final = "collections/"
EDITED: Final = (
    "must say what the applied catalog says under this name and version: "
    "a version is never edited; add one with a higher number"
)
_PARTS: Final[Mapping[str, tuple[type[BaseModel], ...]]] = {
    "plans": (PlanOffer,),
    "quotas": (Quotas,),
    "entitlements": (BooleanEntitlement, StaticEntitlement, MeteredEntitlement),
    "add_ons": (AddOn,),
    "charges": (Charge,),
    "prices": (Flat, PerSeat, Package, Tiered, Volume),
    "tiers": (Tier,),
    "trial": (Trial,),
    "dunning": (DunningPolicy,),
    "rungs": (Rung,),
    "thresholds": (Money,),
    "coupons": (Coupon,),
    "seller": (TaxParty,),
    "table": (TaxTable,),
    "countries": (CountryRates,),
    "rates": (TaxRate,),
    "amount_off": (Money,),
}
_WHOLE: Final[Mapping[str, type[BaseModel]]] = {
    PLANS: PlanCatalog,
    COUPONS: CouponCatalog,
    TAX: TaxFile,
}
_PLACE: Final = re.compile(r", line (\d+), column \d+$")


@dataclass(frozen=True, slots=True, order=True)
class Mistake:
    """One broken rule: the file below the catalog's folder, its line, the part and the rule.

    `line` is 0 where no line can be told.
    """

    file: str
    line: int
    part: str
    rule: str


@dataclass(frozen=True, slots=True)
class Declared:
    """What was read of plans and collections: those without a mistake, and every mistake, coupons' too."""

    collections: Mapping[str, Collection]
    plans: tuple[PlanOffer, ...]
    mistakes: tuple[Mistake, ...]


def read_declared(files: Mapping[str, bytes], applied: PlanCatalog | None = None) -> Declared:
    """Read a catalog's files, by their paths. Raises nothing: what is wrong is told.

    `applied` are the plans in force, of which none may be edited; None where they are not known.
    """
    mistakes: list[Mistake] = []
    documents: dict[str, Document] = {}
    for name, content in sorted(files.items()):
        if name in _WHOLE or name.startswith(COLLECTIONS):
            try:
                documents[name] = parse_document(content.decode(), name)
            except UnicodeDecodeError:
                mistakes.append(Mistake(name, 0, "", "must be UTF-8"))
            except BadInput as error:
                mistakes.append(_unparsed(name, error))
    if TAX in documents:
        mistakes += _tax(documents.pop(TAX))
    if COUPONS in documents:
        mistakes += _coupons(documents.pop(COUPONS), documents.get(PLANS))
    plans: tuple[PlanOffer, ...] = ()
    if PLANS in documents:
        document = documents.pop(PLANS)
        plans, found = _plans(document)
        mistakes += found
        if applied is not None:
            mistakes += _edited(document, plans, applied)
    collections, found = _collections(documents, {_stem(name) for name in files})
    return Declared(collections, plans, tuple(sorted({*mistakes, *found})))


def _unparsed(name: str, error: BadInput) -> Mistake:
    place = _PLACE.search(error.field)
    return Mistake(name, int(place[1]) if place else 0, "", error.rule)


def _stem(name: str) -> str:
    return name.rpartition("/")[2].removesuffix(".yaml")


def _collections(
    documents: Mapping[str, Document], named: set[str]
) -> tuple[dict[str, Collection], list[Mistake]]:
    found: dict[str, Collection] = {}
    mistakes: list[Mistake] = []
    for name, document in documents.items():
        wrong = misdeclarations(document, _stem(name))
        mistakes += [Mistake(name, one.line, one.part, one.rule) for one in wrong]
        if not wrong:
            found[_stem(name)] = Collection.model_validate_json(json.dumps(document.value))
        mistakes += _references(name, document, named)
    if len(documents) > COLLECTIONS_MAX:
        mistakes.append(Mistake(COLLECTIONS, 0, "", f"must hold at most {COLLECTIONS_MAX}"))
    mistakes += _tool_names(found, documents)
    return found, mistakes


def _references(name: str, document: Document, named: set[str]) -> Iterator[Mistake]:
    """References to collections that no file declares: of a file with other mistakes, too."""
    for field, options in mapping(mapping(document.value).get("fields")).items():
        target = mapping(options).get("collection")
        if isinstance(target, str) and target not in named:
            path: Path = ("fields", field, "collection")
            rule = f"must be a declared collection{did_you_mean(target, named)}"
            yield Mistake(name, document.lines.get(path, 1), ".".join(map(str, path)), rule)


def _tool_names(
    collections: Mapping[str, Collection], documents: Mapping[str, Document]
) -> Iterator[Mistake]:
    left = dict(collections)
    for _ in range(len(collections)):
        try:
            check_names(left)
        except BadInput as error:
            stem = error.field.partition(".yaml")[0]
            name = f"{COLLECTIONS}{stem}.yaml"
            yield Mistake(name, documents[name].lines.get(("name",), 1), "name", error.rule)
            del left[stem]
        else:
            return


def _plans(document: Document) -> tuple[tuple[PlanOffer, ...], list[Mistake]]:
    value = document.value
    try:
        return PlanCatalog.model_validate_json(json.dumps(value)).plans, []
    except ValidationError as error:
        errors: list[Any] = error.errors(include_url=False)
        found = [_of_plans(document, one) for one in errors if not _follows(one, errors)]
    offers: dict[int, PlanOffer] = {}
    for place, one in enumerate(sequence(mapping(value).get("plans"))):
        try:
            offers[place] = PlanOffer.model_validate_json(json.dumps(one))
        except ValidationError:
            continue
    kept, disagreeing = _agreeing(document, offers)
    # What is told of the list as a whole follows from what is told of the offers in it.
    told = [*disagreeing, *(one for one in found if one.part != "plans")]
    return kept, told or found


def _agreeing(
    document: Document, offers: Mapping[int, PlanOffer]
) -> tuple[tuple[PlanOffer, ...], list[Mistake]]:
    """The offers that agree with those before them, and the others as mistakes."""
    kept: list[PlanOffer] = []
    mistakes: list[Mistake] = []
    for place, offer in offers.items():
        try:
            PlanCatalog(plans=(*kept, offer))
        except ValidationError as error:
            cause = error.errors(include_url=False)[0]
            mistakes.append(_of_plans(document, {**cause, "loc": ("plans", place)}))
        else:
            kept.append(offer)
    return tuple(kept), mistakes


def _edited(
    document: Document, offers: Iterable[PlanOffer], applied: PlanCatalog
) -> Iterator[Mistake]:
    """The offers that the applied catalog has under the same name and version, saying otherwise."""
    listed = sequence(mapping(document.value).get("plans"))
    places = {
        (one.get("name"), one.get("version")): at for at, one in enumerate(map(mapping, listed))
    }
    for offer in offers:
        if applied.edits(offer):
            path: Path = ("plans", places[offer.name, offer.version])
            yield Mistake(PLANS, document.lines[path], ".".join(map(str, path)), EDITED)


def _tax(document: Document) -> Iterator[Mistake]:
    try:
        TaxFile.model_validate_json(json.dumps(document.value))
    except ValidationError as error:
        errors: list[Any] = error.errors(include_url=False)
        for one in errors:
            if not _follows(one, errors):
                yield _told_of(TAX, document, one, ("table",))


def _coupons(document: Document, plans: Document | None) -> Iterator[Mistake]:
    try:
        coupons = CouponCatalog.model_validate_json(json.dumps(document.value)).coupons
    except ValidationError as error:
        for one in error.errors(include_url=False):
            yield _told_of(COUPONS, document, one, ("coupons",))
        return
    if plans is None:
        return
    listed = sequence(mapping(plans.value).get("plans"))
    known = {str(mapping(one).get("name")) for one in listed}
    for place, coupon in enumerate(coupons):
        for name in sorted({*coupon.plans} - known):
            rule = f"{PLAN_UNKNOWN}{did_you_mean(name, known)}"
            yield _at(COUPONS, document, ("coupons", place, "plans"), rule)


def _follows(error: Any, others: Iterable[Any]) -> bool:
    """Whether a list is only too short because what stands in it is wrong."""
    start = error["loc"]
    inside = (one["loc"] for one in others if len(one["loc"]) > len(start))
    return error["type"] == "too_short" and any(loc[: len(start)] == start for loc in inside)


def _of_plans(document: Document, error: Any) -> Mistake:
    return _told_of(PLANS, document, error, ("plans",))


def _told_of(name: str, document: Document, error: Any, whole: Path) -> Mistake:
    path, rule = fault(document.value, error)
    path = path or whole
    if error["type"] == "extra_forbidden":
        rule = f"is not known{did_you_mean(path[-1], _known_beside(name, path))}"
    return _at(name, document, path, rule)


def _at(name: str, document: Document, path: Path, rule: str) -> Mistake:
    standing = path
    while standing and standing not in document.lines:
        standing = standing[:-1]
    return Mistake(name, document.lines.get(standing, 1), ".".join(map(str, path)), rule)


def _known_beside(name: str, path: Path) -> Iterator[str]:
    """What may stand where `path` ends."""
    parents = [part for part in path[:-1] if isinstance(part, str)]
    models = _PARTS.get(parents[-1], ()) if parents else (_WHOLE[name],)
    return (name for model in models for name in model.model_fields)

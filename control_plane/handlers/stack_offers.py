"""The handler that lists which stacks may be had: by cloud and isolation model, from where, and how each is proven."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal, NamedTuple, TypeAlias

from control_plane.commands import Command
from control_plane.domain.canonical import Json
from control_plane.domain.isolation import CLOUDS, ISOLATIONS, Cloud, Isolation
from control_plane.facts.workspace import WorkspaceFacts
from control_plane.handlers.declared import Catalog
from control_plane.handlers.handler import SingleAnswer, Subject, View
from control_plane.provisioning import module
from control_plane.provisioning.stacks import MODULES

Source: TypeAlias = Literal["shipped", "own"]
Proof: TypeAlias = Literal["applied", "emulator-applied", "contract-checked", "none"]

# As docs/reference/stacks.md says, and how.
PROOFS: Final[Mapping[Cloud, Proof]] = MappingProxyType(
    {
        "local": "applied",
        "aws": "emulator-applied",
        "azure": "contract-checked",
        "gcp": "contract-checked",
        "oci": "contract-checked",
        "ibm": "contract-checked",
    }
)


class _Stack(NamedTuple):
    """One stack that may be had."""

    cloud: Cloud
    isolation: Isolation
    source: Source
    folder: Path


class ListStacksHandler(SingleAnswer):
    """Lists the stacks of this workspace."""

    def subject(self, command: Command, view: View) -> Subject:
        """The workspace."""
        return Subject(id="workspace", facts=WorkspaceFacts())

    def answer(
        self,
        command: Command,
        view: View,
        subject: Subject,
        page: list[Subject],
        may: frozenset[str],
    ) -> dict[str, Json]:
        """Each stack, in the order of clouds and models."""
        catalog = view.ports.catalog
        return {"stacks": [_told(one, catalog) for one in _stacks(catalog)]}


def _stacks(catalog: Catalog) -> Iterator[_Stack]:
    """The workspace's own stand in the place of the shipped ones."""
    for cloud in CLOUDS:
        for isolation in ISOLATIONS:
            own, shipped = catalog.stacks.get((cloud, isolation)), MODULES / cloud / isolation
            if own is not None:
                yield _Stack(cloud, isolation, "own", own)
            elif shipped.is_dir():
                yield _Stack(cloud, isolation, "shipped", shipped)


def _told(one: _Stack, catalog: Catalog) -> dict[str, Json]:
    return {
        "cloud": one.cloud,
        "isolation": one.isolation,
        "source": one.source,
        "module_digest": _digest(one.folder),
        "plans": _plans(catalog, one),
        "proof": PROOFS[one.cloud] if one.source == "shipped" else "none",
    }


def _plans(catalog: Catalog, one: _Stack) -> list[Json]:
    """The plans whose newest version offers it."""
    names = sorted({offer.name for offer in catalog.plans.plans})
    offers = [catalog.plans.offer(name) for name in names]
    return [
        offer.name
        for offer in offers
        if one.cloud in offer.clouds and one.isolation in offer.isolations
    ]


@cache
def _digest(folder: Path) -> str:
    # What is shipped, or lies in a kept catalog, stands still while a process runs.
    return module.tree_digest(folder)

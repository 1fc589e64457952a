"""What a plan would do, as counts and names that a policy can judge. Not the plan itself.

What is judged is what would then be: values of `after`. A value that is not known before the apply is
read by one rule. *Given* by an expression, it is not proven, and counts as bad wherever a known value
could be: what a module computes is not taken on trust. *Not given*, it is the provider's default that
Terraform only writes out later, and counts as bad where that default is. `planned.py` tells the two
apart; `exposure.py`, `encryption.py` and `grants.py` say for each type which default is which.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from control_plane.provisioning import (
    encryption,
    exposure,
    grants,
    labelled,
    places,
    prices,
    reaching,
    stateful,
)
from control_plane.provisioning.planned import Planned, as_tree, planned


class PlanFacts(BaseModel):
    """Counts of resources per kind of change; addresses where a name matters, sorted.

    A replacement counts once, in `replaces`. The cost is that of all that stands afterwards, in US
    cents a month, by the price table of the day `price_version`. `docs/reference/plan-facts.md` tells
    how each is found, and what it cannot see.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    creates: int
    updates: int
    replaces: int
    deletes: int
    stateful_deletes: tuple[str, ...]
    local_exec: bool
    resource_types: tuple[str, ...]
    providers: tuple[str, ...]
    public_ingress: tuple[str, ...] = ()
    unencrypted: tuple[str, ...] = ()
    iam_wildcards: tuple[str, ...] = ()
    iam_unread: tuple[str, ...] = ()
    untagged: tuple[str, ...] = ()
    touched_others: tuple[str, ...] = ()
    reaches_out: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    drift: int = 0
    monthly_cost_minor: int = 0
    price_version: str = ""
    unpriced: tuple[str, ...] = ()

    @property
    def blast_radius(self) -> int:
        """How many resources the plan touches."""
        return self.creates + self.updates + self.replaces + self.deletes


def plan_facts(plan_json: Mapping[str, Any]) -> PlanFacts:
    """The facts of a plan as `terraform show -json` prints it, by the prices that Paybill ships."""
    resources = planned(plan_json)
    touched = tuple(one for one in resources if one.kind)
    kinds = [one.kind for one in touched]
    owner = _owner(plan_json)
    table = prices.shipped_prices()
    cost = prices.estimate(resources, table)
    return PlanFacts(
        creates=kinds.count("create"),
        updates=kinds.count("update"),
        replaces=kinds.count("replace"),
        deletes=kinds.count("delete"),
        stateful_deletes=_addresses(
            one
            for one in touched
            if one.kind in ("delete", "replace") and stateful.is_stateful(one)
        ),
        local_exec=reaching.has_provisioner(plan_json),
        resource_types=tuple(sorted({one.type for one in touched})),
        providers=_providers(plan_json, touched),
        public_ingress=_addresses(one for one in touched if exposure.is_public(one)),
        unencrypted=_addresses(one for one in touched if encryption.is_unencrypted(one)),
        iam_wildcards=_addresses(one for one in touched if grants.is_wide(one)),
        iam_unread=_addresses(one for one in touched if grants.is_unread(one)),
        untagged=_addresses(one for one in touched if labelled.is_untagged(one, owner)),
        touched_others=_addresses(one for one in touched if labelled.is_foreign(one, owner)),
        reaches_out=reaching.reaching_out(plan_json),
        regions=tuple(sorted(places.regions(touched, plan_json))),
        drift=_drift(plan_json, touched),
        monthly_cost_minor=cost.monthly_minor,
        price_version=table.version,
        unpriced=cost.unpriced,
    )


def _addresses(found: Iterable[Planned]) -> tuple[str, ...]:
    return tuple(sorted(one.address for one in found))


def _providers(plan_json: Mapping[str, Any], touched: tuple[Planned, ...]) -> tuple[str, ...]:
    declared = plan_json.get("configuration", {}).get("provider_config", {}).values()
    names = {str(one["full_name"]) for one in declared}
    return tuple(sorted(names | {one.provider for one in touched}))


def _owner(plan_json: Mapping[str, Any]) -> dict[str, str]:
    """Whose the stack is, as the values say that Terraform was given: those are ours, not the module's."""
    given = plan_json.get("variables", {})
    labels = as_tree(given.get("labels", {}).get("value")) or {}
    tenant = given.get("tenant_id", {}).get("value")
    named = {labelled.TENANT: tenant} if isinstance(tenant, str) else {}
    return named | {str(name): str(value) for name, value in labels.items()}


def _drift(plan_json: Mapping[str, Any], touched: tuple[Planned, ...]) -> int:
    """How many resources were changed behind our back and would be changed by this plan."""
    drifted = {str(one["address"]) for one in plan_json.get("resource_drift", ())}
    return len(drifted & {one.address for one in touched})

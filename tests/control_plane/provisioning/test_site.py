"""A stack's place: which account, provider, credentials and state it has, and what it is bound to. No Terraform runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.domain.canonical import Json
from control_plane.domain.isolation import CLOUDS, Cloud
from control_plane.errors import Refused, Unavailable
from control_plane.provisioning.accounts import (
    CloudAccount,
    Clouds,
    Credentials,
    DedicatedAccount,
    FromEnvironment,
    StateBackend,
)
from control_plane.provisioning.scan import BUILTIN
from control_plane.provisioning.site import PROVIDERS, UNNAMED, Sites, cli_config
from control_plane.provisioning.stacks import StackRequest

KEY: Final = b"k" * 32
PLANTED: Final = "s3cret-planted"
AFAR: Final[tuple[Cloud, ...]] = tuple(cloud for cloud in CLOUDS if cloud != "local")
S3: Final = StateBackend(kind="s3", settings={"bucket": "states"})


def request_of(cloud: Cloud = "aws", **changed: Any) -> StackRequest:
    given_: dict[str, Any] = {
        "tenant": "acme",
        "run_id": "run-1",
        "isolation": "silo",
        "plan": "pro",
        "region": "eu",
    }
    return StackRequest(cloud=cloud, **(given_ | changed))


def account_of(**changed: Any) -> CloudAccount:
    given_: dict[str, Any] = {
        "account": "one",
        "regions": ("eu",),
        "credentials": FromEnvironment(kind="environment", names=("UNUSED",)),
        "shared": {"eu": {"bucket": "pooled"}, "us": {"bucket": "other"}},
    }
    return CloudAccount(**(given_ | changed))


def sites_of(root: Path = Path("/srv/one"), cloud: Cloud = "aws", **changed: Any) -> Sites:
    clouds = Clouds(accounts={cloud: account_of(**changed)})
    return Sites(root, clouds, fetch_credentials=lambda _source: {"AWS_SECRET": PLANTED})


def digest_of(sites: Sites, request: StackRequest | None = None) -> str:
    return sites.site(request or request_of()).digest(KEY)


def test_a_local_stack_needs_no_account_and_has_no_credentials() -> None:
    def fetched(_source: Credentials) -> Mapping[str, str]:
        raise AssertionError("nobody's credentials are needed")

    site = Sites(Path("/srv"), fetch_credentials=fetched).site(request_of("local"))
    assert (site.environment, site.adapter, dict(site.shared)) == ({}, None, {})
    assert site.providers == {BUILTIN}
    assert site.state == Path("/srv/acme/silo/terraform.tfstate")


@pytest.mark.parametrize("cloud", AFAR)
def test_a_cloud_without_an_account_is_refused(cloud: Cloud) -> None:
    with pytest.raises(Refused) as refused:
        Sites(Path("/srv")).site(request_of(cloud))
    assert (refused.value.code, refused.value.fact) == ("cloud_not_configured", "proposed_cloud")
    assert refused.value.rule == "clouds.accounts"


def test_a_region_that_the_account_is_not_used_in_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        sites_of().site(request_of(region="us"))
    assert refused.value.code == "region_not_configured"
    assert (refused.value.rule, refused.value.fact) == (
        "clouds.accounts.regions",
        "proposed_region",
    )


@pytest.mark.parametrize("cloud", AFAR)
def test_a_stack_of_a_cloud_may_use_its_own_provider_and_no_other(cloud: Cloud) -> None:
    site = sites_of(cloud=cloud).site(request_of(cloud))
    assert site.providers == {BUILTIN, PROVIDERS[cloud].source}
    assert dict(site.shared) == {"bucket": "pooled"}
    assert dict(site.environment) == {"AWS_SECRET": PLANTED}


def test_a_site_does_not_show_its_credentials() -> None:
    assert PLANTED not in repr(sites_of().site(request_of()))


def test_without_a_way_to_fetch_them_credentials_are_missing() -> None:
    with pytest.raises(Unavailable) as missing:
        Sites(Path("/srv"), Clouds(accounts={"aws": account_of()})).site(request_of())
    assert missing.value.code == "credentials_missing"


def test_an_adapter_is_made_only_when_it_is_asked_for() -> None:
    made: list[tuple[str, str]] = []

    def adapt(cloud: Cloud, account: CloudAccount, secrets: Mapping[str, str]) -> Any:
        made.append((cloud, account.account))
        return secrets

    clouds = Clouds(accounts={"aws": account_of()})
    sites = Sites(Path("/srv"), clouds, adapt, fetch_credentials=lambda _source: {"A": "b"})
    adapter = sites.site(request_of()).adapter
    assert adapter is not None
    assert made == []
    seen: Any = adapter()
    assert (seen, made) == ({"A": "b"}, [("aws", "one")])
    assert sites_of().site(request_of()).adapter is None


@pytest.mark.parametrize(
    "changed",
    [
        {"provider": {"max_retries": 3}},
        {"provider": {"max_retries": 4}},
        {"provider": {"profile": "two"}},
        {"shared": {"eu": {"bucket": "another"}}},
        {"shared": {"eu": {"bucket": "pooled", "more": "x"}}},
        {"shared": {}},
        {"state": S3},
        {"state": StateBackend(kind="s3", settings={"bucket": "other"})},
        {"state": StateBackend(kind="gcs", settings={"bucket": "states"})},
    ],
    ids=str,
)
def test_each_setting_that_terraform_is_given_changes_what_a_plan_is_bound_to(
    changed: dict[str, Any],
) -> None:
    digests = {digest_of(sites_of()), digest_of(sites_of(**changed))}
    assert len(digests) == 2
    assert digest_of(sites_of(**changed)) in digests


def test_a_plan_is_bound_to_neither_credentials_nor_another_regions_shared_things() -> None:
    other = account_of(shared={"eu": {"bucket": "pooled"}, "us": {"bucket": "changed"}})
    secrets = Sites(
        Path("/srv/one"), Clouds(accounts={"aws": other}), fetch_credentials=lambda _: {}
    )
    assert digest_of(secrets) == digest_of(sites_of())


def test_what_a_plan_is_bound_to_is_keyed() -> None:
    site = sites_of().site(request_of())
    assert site.digest(KEY) != site.digest(b"j" * 32)


def test_a_state_in_a_bucket_is_the_same_from_every_folder_and_one_in_a_file_is_not() -> None:
    far = [digest_of(sites_of(Path(root), state=S3)) for root in ("/srv/one", "/srv/two")]
    near = [digest_of(sites_of(Path(root))) for root in ("/srv/one", "/srv/two")]
    assert far[0] == far[1]
    assert near[0] != near[1]


# Which account --------------------------------------------------------------------------------


def two_accounts(held_in: str | None = None, *, everybodys: bool = True) -> Sites:
    """Of `one` everybody's, and of `two` acme's; whatever stands stands in `held_in`."""
    two = DedicatedAccount(
        cloud="aws",
        tenants=("acme",),
        **{name: getattr(account_of(account="two"), name) for name in CloudAccount.model_fields},
    )
    clouds = Clouds(accounts={"aws": account_of()} if everybodys else {}, dedicated=(two,))
    return Sites(
        Path("/srv/one"), clouds, fetch_credentials=lambda _: {}, held_in=lambda _request: held_in
    )


def test_a_tenants_stack_stands_in_its_own_account_and_anothers_in_everybodys() -> None:
    sites = two_accounts()
    assert sites.site(request_of()).account == "two"
    assert sites.site(request_of(tenant="globex")).account == "one"
    assert sites.site(request_of("local")).account == ""
    with pytest.raises(Refused) as refused:
        two_accounts(everybodys=False).site(request_of(tenant="globex"))
    assert refused.value.code == "cloud_not_configured"


@pytest.mark.parametrize(
    ("tenant", "held", "stays"),
    [
        *[("acme", held, held in (None, "two")) for held in (None, "one", "two", UNNAMED, "gone")],
        *[
            ("globex", held, held in (None, "one", UNNAMED))
            for held in (None, "one", "two", UNNAMED, "gone")
        ],
    ],
)
def test_what_stands_is_in_its_own_account_or_refused(
    tenant: str, held: str | None, *, stays: bool
) -> None:
    sites, request = two_accounts(held), request_of(tenant=tenant)
    if stays:
        assert sites.site(request).account in ("one", "two")
        return
    with pytest.raises(Refused) as refused:
        sites.site(request)
    assert (refused.value.code, refused.value.rule) == ("account_moved", "clouds.dedicated")


def test_what_stood_before_accounts_were_told_has_moved_where_everybodys_is_gone() -> None:
    with pytest.raises(Refused) as refused:
        two_accounts(UNNAMED, everybodys=False).site(request_of())
    assert refused.value.code == "account_moved"


def test_a_plan_is_bound_to_its_account_and_tells_it() -> None:
    own = two_accounts().site(request_of())
    assert own.named() == {"account": "two"}
    assert own.digest(KEY) != digest_of(sites_of())
    local = Sites(Path("/srv")).site(request_of("local"))
    assert local.named() == {}


TEMPLATES: Final = st.text(alphabet=st.sampled_from('${}%"a\\\n ~'), max_size=12)
VALUES: Final[st.SearchStrategy[Json]] = st.recursive(
    TEMPLATES | st.integers(0, 9) | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEMPLATES, inner, max_size=3),
    max_leaves=6,
)


def evaluated(value: Any) -> Any:
    """What Terraform makes of JSON in a place where it reads templates; none may be left to run."""
    if isinstance(value, str):
        left = value.replace("$${", "\0").replace("%%{", "\0")
        assert "${" not in left
        assert "%{" not in left
        return value.replace("$${", "${").replace("%%{", "%{")
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value)
        return {evaluated(name): evaluated(one) for name, one in items.items()}
    if isinstance(value, list):
        listed: list[Any] = cast("Any", value)
        return [evaluated(one) for one in listed]
    return value


@given(VALUES)
def test_a_providers_setting_is_a_value_and_never_a_template(value: Json) -> None:
    site = sites_of(provider={"some": value}).site(request_of())
    assert site.provider is not None
    name, settings = site.provider
    assert name == "aws"
    assert evaluated(dict(settings)) == {"some": value}


def test_nothing_is_installed_for_a_local_stack() -> None:
    for mirror in (None, Path("/srv/mirror")):
        assert cli_config(mirror, frozenset({BUILTIN})) == {
            "disable_checkpoint": True,
            "provider_installation": [{"direct": [{"exclude": ["*/*/*"]}]}],
        }


def test_providers_come_from_the_mirror_alone_or_from_their_registry_alone() -> None:
    sources = frozenset({BUILTIN, "registry.terraform.io/hashicorp/aws"})
    wanted = ["registry.terraform.io/hashicorp/aws"]
    held: Any = cli_config(Path("/srv/mirror"), sources)["provider_installation"]
    assert held == [
        {
            "filesystem_mirror": [{"path": "/srv/mirror", "include": wanted}],
            "direct": [{"exclude": ["*/*/*"]}],
        }
    ]
    fetched: Any = cli_config(None, sources)["provider_installation"]
    assert fetched == [{"direct": [{"include": wanted}]}]

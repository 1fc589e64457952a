"""An adapter is chosen by its cloud, and says what is missing. Not what it looks at: that needs an SDK."""

from __future__ import annotations

import sys

import pytest

from control_plane.domain.isolation import Cloud
from control_plane.errors import BadInput, Unavailable
from control_plane.provisioning.accounts import CloudAccount, FromEnvironment
from control_plane.provisioning.clouds.choose import OPENS, adapter_for

_SDKS = {
    "aws": "boto3",
    "azure": "azure.identity",
    "gcp": "google.oauth2.service_account",
    "oci": "oci",
    "ibm": "ibm_platform_services",
}
_ALL = {
    "aws": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    "azure": ("ARM_TENANT_ID", "ARM_CLIENT_ID", "ARM_CLIENT_SECRET"),
    "gcp": ("GOOGLE_CREDENTIALS",),
    "oci": ("OCI_TENANCY_OCID", "OCI_USER_OCID", "OCI_FINGERPRINT", "OCI_PRIVATE_KEY"),
    "ibm": ("IC_API_KEY",),
}


def account(**endpoints: str) -> CloudAccount:
    return CloudAccount(
        account="1",
        regions=("eu-1",),
        credentials=FromEnvironment(kind="environment", names=("UNUSED",)),
        endpoints=endpoints,
    )


@pytest.mark.parametrize("cloud", list(OPENS))
def test_an_sdk_that_is_missing_is_named_with_its_extra(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, _SDKS[cloud], None)
    secrets = dict.fromkeys(_ALL[cloud], "planted")
    with pytest.raises(Unavailable, match=rf"pip install 'paybill\[{cloud}\]'") as told:
        adapter_for(cloud, account(), secrets)
    assert told.value.code == "sdk_missing"


@pytest.mark.parametrize("cloud", list(OPENS))
def test_credentials_that_are_missing_are_named_before_any_sdk(cloud: Cloud) -> None:
    for name in _ALL[cloud]:
        rest = {other: "planted" for other in _ALL[cloud] if other != name}
        with pytest.raises(Unavailable, match=name) as told:
            adapter_for(cloud, account(), rest)
        assert told.value.code == "credentials_missing"
        assert "planted" not in str(told.value)


def test_nothing_is_looked_at_where_there_is_no_account() -> None:
    with pytest.raises(BadInput, match="cloud"):
        adapter_for("local", account(), {})

"""What is one cloud's alone: further credentials, and what must not be taken for an answer. Not the contract."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from control_plane.domain.isolation import Cloud
from control_plane.errors import Unavailable
from control_plane.provisioning.clouds.choose import adapter_for
from control_plane.provisioning.stacks import labels
from tests.clouds.azure_cloud import AzureBench
from tests.clouds.bench import PLANTED, WORKSPACE, Bench, asked_for
from tests.clouds.contract import adapter, bad
from tests.clouds.gcp_cloud import TOKEN
from tests.clouds.oci_cloud import OciBench

BenchOf = Callable[[Cloud], Bench]


@pytest.mark.sweep
def test_aws_heeds_no_profile_and_no_address_of_the_machine(
    bench_of: BenchOf, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bench = bench_of("aws")
    (tmp_path / "config").write_text("[default]\nendpoint_url = http://127.0.0.1:9\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIASOMEBODYELSE0001")
    assert bad(adapter(bench).preflight(asked_for(bench))) == []


@pytest.mark.sweep
def test_aws_sends_the_token_of_a_session(bench_of: BenchOf) -> None:
    bench = bench_of("aws")
    looks = adapter(bench, {**bench.credentials, "AWS_SESSION_TOKEN": "of-the-session"})
    assert bad(looks.preflight(asked_for(bench))) == []
    shown = {one.headers.get("x-amz-security-token") for one in bench.server.asked}
    assert shown == {"of-the-session"}


@pytest.mark.sweep
def test_azure_takes_an_assertion_for_a_secret(bench_of: BenchOf) -> None:
    bench = bench_of("azure")
    rest = {key: value for key, value in bench.credentials.items() if "SECRET" not in key}
    looks = adapter(bench, {**rest, "ARM_OIDC_TOKEN": PLANTED})
    assert bad(looks.preflight(asked_for(bench))) == []
    (form,) = [one.form for one in bench.server.asked if one.form.get("grant_type")]
    assert form["client_assertion"] == PLANTED


@pytest.mark.parametrize("is_ours", [True, False])
@pytest.mark.sweep
def test_azure_keeps_a_deleted_vaults_name_for_whoever_had_it(
    bench_of: BenchOf, is_ours: bool
) -> None:
    bench = bench_of("azure")
    assert isinstance(bench, AzureBench)
    request = asked_for(bench)
    bench.delete_vault(request, labels(request) if is_ours else {"whose": "another"})
    checks = adapter(bench).preflight(request)
    assert [name for name, _about in bad(checks)] == ([] if is_ours else ["name"])


def test_azures_filters_take_no_name_that_is_none(bench_of: BenchOf) -> None:
    bench = bench_of("azure")
    outputs = {"storage": {"name": "x' or name ne 'x"}, "labels": labels(asked_for(bench))}
    told = bad(adapter(bench).verify(asked_for(bench), outputs))
    assert ("stands", "storage") in told
    assert not any("%27x%27+or" in one.target for one in bench.server.asked)


@pytest.mark.sweep
def test_google_takes_a_key_from_a_file_and_a_token(bench_of: BenchOf, tmp_path: Path) -> None:
    bench = bench_of("gcp")
    path = tmp_path / "key.json"
    path.write_text(bench.credentials["GOOGLE_CREDENTIALS"])
    for credentials in (
        {"GOOGLE_APPLICATION_CREDENTIALS": str(path)},
        {"GOOGLE_CREDENTIALS": str(path)},
        {"GOOGLE_OAUTH_ACCESS_TOKEN": TOKEN},
    ):
        assert bad(adapter(bench, credentials).preflight(asked_for(bench))) == []


@pytest.mark.parametrize(
    "content",
    [
        json.dumps({"type": "external_account", "credential_source": {"executable": {}}}),
        json.dumps({"type": "service_account"}),
        json.dumps(["not", "a", "key"]),
        "{",
        "/no/such/file",
    ],
)
def test_google_takes_no_key_of_another_form(bench_of: BenchOf, content: str) -> None:
    bench = bench_of("gcp")
    with pytest.raises(Unavailable, match="GOOGLE_CREDENTIALS") as told:
        adapter_for("gcp", bench.account, {"GOOGLE_CREDENTIALS": content})
    assert told.value.code == "credentials_refused"
    assert bench.server.asked == []


@pytest.mark.sweep
def test_a_key_of_ibm_that_is_none_is_refused_before_it_is_shown(bench_of: BenchOf) -> None:
    bench = bench_of("ibm")
    with pytest.raises(Unavailable, match="IC_API_KEY") as told:
        adapter(bench, {"IC_API_KEY": "{planted}"}).owned(WORKSPACE)
    assert told.value.code == "credentials_refused"
    assert "planted" not in str(told.value)
    assert bench.server.asked == []


@pytest.mark.sweep
def test_oracle_takes_a_key_from_a_file(bench_of: BenchOf, tmp_path: Path) -> None:
    bench = bench_of("oci")
    credentials = dict(bench.credentials)
    path = tmp_path / "key.pem"
    path.write_text(credentials.pop("OCI_PRIVATE_KEY"))
    looks = adapter(bench, {**credentials, "OCI_PRIVATE_KEY_PATH": str(path)})
    assert bad(looks.preflight(asked_for(bench))) == []


@pytest.mark.parametrize("cloud", ["oci", "ibm"])
def test_a_query_is_put_together_of_identifiers_alone(bench_of: BenchOf, cloud: Cloud) -> None:
    bench = bench_of(cloud)
    request = asked_for(bench)
    outputs = {"network": "x' || identifier != 'x\" OR *", "labels": labels(request)}
    assert ("stands", "network") in bad(adapter(bench).verify(request, outputs))
    assert not any(b"identifier !=" in one.body for one in bench.server.asked)


@pytest.mark.sweep
def test_what_is_being_deleted_in_oracle_does_not_count(bench_of: BenchOf) -> None:
    bench = bench_of("oci")
    assert isinstance(bench, OciBench)
    request = asked_for(bench)
    outputs = bench.stand(request)
    bench.end("key")
    assert ("stands", "key") in bad(adapter(bench).verify(request, outputs))
    assert "oci_kms_key" not in {one.type for one in adapter(bench).owned(WORKSPACE)}

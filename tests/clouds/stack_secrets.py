"""The login of a stack's server in AWS's Secrets Manager, through boto3 against an emulator. Not the server."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import cast

import pytest

from control_plane.domain.isolation import Cloud
from control_plane.errors import Unavailable
from control_plane.provisioning.clouds.aws_secrets import AwsSecrets
from control_plane.provisioning.clouds.sdk import Patience
from tests.clouds.aws_cloud import AwsBench
from tests.clouds.bench import PLANTED, Bench, asked_for

REGION = "eu-central-1"
BenchOf = Callable[[Cloud], Bench]


@pytest.fixture
def bench(bench_of: BenchOf) -> AwsBench:
    """AWS's stand-in."""
    made = bench_of("aws")
    assert isinstance(made, AwsBench)
    return made


def secret_of(bench: AwsBench, content: str) -> str:
    """The ARN of a stack's secret that holds this."""
    outputs = bench.stand(asked_for(bench, region=REGION))
    database = cast("dict[str, str]", outputs["database"])
    bench._of("secretsmanager", REGION).update_secret(
        SecretId=database["secret"], SecretString=content
    )
    bench.server.asked.clear()
    return database["secret"]


def source(bench: AwsBench, credentials: Mapping[str, str] | None = None) -> AwsSecrets:
    patience = Patience(connect_s=2.0, read_s=5.0)
    return AwsSecrets(bench.account, credentials or bench.credentials, REGION, patience)


def told(bench: AwsBench, reference: str, credentials: Mapping[str, str] | None = None) -> str:
    """The code with which it cannot be had; nothing of what lies there is told."""
    with pytest.raises(Unavailable) as error:
        source(bench, credentials).get(reference)
    for word in ("pl4nted", PLANTED, reference):
        assert word not in str(error.value)
    return error.value.code


def test_aws_tells_the_login_that_lies_there_by_one_question(bench: AwsBench) -> None:
    arn = secret_of(bench, json.dumps({"username": "paybill", "password": "pl4nted"}))
    found = source(bench).get(arn)
    assert (found.username, found.password.get_secret_value()) == ("paybill", "pl4nted")
    (asked,) = bench.server.asked
    assert asked.headers["x-amz-target"] == "secretsmanager.GetSecretValue"


def test_aws_is_not_asked_for_a_secret_of_another_account_or_region(bench: AwsBench) -> None:
    arn = secret_of(bench, "{}")
    for other in (
        arn.replace(REGION, "us-east-1"),
        arn.replace(bench.account.account, "210987654321"),
        arn.rsplit(":", 1)[-1],
        "/etc/passwd",
    ):
        assert told(bench, other) == "stack_login_missing"
    assert bench.server.asked == []


def test_aws_tells_what_kept_the_login_back(bench: AwsBench) -> None:
    arn = secret_of(bench, "pl4nted")
    assert told(bench, arn) == "stack_login_missing"
    assert told(bench, f"{arn}x") == "stack_login_missing"
    assert told(bench, arn, bench.wrong_credentials[0]) == "credentials_refused"
    with bench.server.troubled(403):
        assert told(bench, arn) == "credentials_refused"
    with bench.server.troubled(500):
        assert told(bench, arn) == "cloud_unavailable"

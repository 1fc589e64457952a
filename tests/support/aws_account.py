"""An emulated account that tests break: its states on S3, its adapter, and what stands in it. Not AWS, and no SDK."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx2

from control_plane.domain.canonical import Json
from control_plane.domain.isolation import Cloud
from control_plane.provisioning.accounts import CloudAccount, StateBackend
from control_plane.provisioning.clouds.aws_kinds import ROLE, found_of
from control_plane.provisioning.clouds.port import Check, Found
from control_plane.provisioning.stacks import StackRequest
from tests.support.emulated_aws import REGION, EmulatedAws
from tests.support.faulty_proxy import STATES

SHARED: Final = {
    "bucket": "shared-bucket",
    "database_host": "database.internal.example",
    "database_port": "5432",
    "database_name": "pooled",
    "kms_key_arn": f"arn:aws:kms:{REGION}:123456789012:key/00000000-0000-0000-0000-000000000001",
    "network_id": "vpc-00000000000000001",
}
_ACCEPTED: Final = 400


def account_behind(aws: EmulatedAws, door: str) -> CloudAccount:
    """The account as Terraform reaches it through a door; its states lie in a bucket behind the same."""
    through = EmulatedAws(door).account(SHARED)
    settings: dict[str, Json] = {
        "bucket": STATES,
        "region": REGION,
        "endpoints": {"s3": door},
        "use_path_style": True,
        "max_retries": 1,
        "skip_credentials_validation": True,
        "skip_metadata_api_check": True,
        "skip_requesting_account_id": True,
    }
    make_bucket(aws, STATES)
    return through.model_copy(
        update={
            "provider": {**through.provider, "max_retries": 1},
            "state": StateBackend(kind="s3", settings=settings),
        }
    )


def make_bucket(aws: EmulatedAws, name: str) -> None:
    """Make a bucket in the region."""
    namespace = "http://s3.amazonaws.com/doc/2006-03-01/"
    where = f"<LocationConstraint>{REGION}</LocationConstraint>"
    configuration = (
        f'<CreateBucketConfiguration xmlns="{namespace}">{where}</CreateBucketConfiguration>'
    )
    aws.s3(f"/{name}", configuration)


def stand_shared(aws: EmulatedAws) -> dict[str, str]:
    """Make what pooled stacks stand on; its names."""
    make_bucket(aws, SHARED["bucket"])
    vpc = _query(aws, "ec2", "2016-11-15", "CreateVpc", CidrBlock="10.0.0.0/16").text
    key = _json(aws, "kms", "TrentService.CreateKey").json()
    instance = _query(
        aws,
        "rds",
        "2014-10-31",
        "CreateDBInstance",
        DBInstanceIdentifier="shared",
        DBInstanceClass="db.t4g.small",
        Engine="postgres",
        AllocatedStorage="20",
        MasterUsername="owner",
        MasterUserPassword="not-a-secret",
    ).text
    return {
        **SHARED,
        "network_id": _one(r"<vpcId>(.*?)</vpcId>", vpc),
        "kms_key_arn": key["KeyMetadata"]["Arn"],
        "database_host": _one(r"<Address>(.*?)</Address>", instance),
    }


def _one(pattern: str, text: str) -> str:
    return str(re.findall(pattern, text)[0])


@dataclass(frozen=True)
class Tagged:
    """The adapter of the emulated account, as far as an apply's recovery asks it: what bears labels."""

    aws: EmulatedAws

    @property
    def cloud(self) -> Cloud:
        """AWS."""
        return "aws"

    def identity(self) -> Check:
        """The emulator takes any."""
        return Check(name="identity", about="account", ok=True, said="the account that is declared")

    def preflight(self, request: StackRequest) -> tuple[Check, ...]:
        """Nothing: what is shared is only named here."""
        return ()

    def verify(self, request: StackRequest, outputs: Mapping[str, object]) -> tuple[Check, ...]:
        """Whether all that the pooled stack makes stands."""
        stands = standing(self.aws, request)
        return tuple(
            Check(name="stands", about=one, ok=one in stands, said="looked for")
            for one in ("parameter", "role")
        )

    def owned(self, workspace: str, tenant: str | None = None) -> tuple[Found, ...]:
        """What the tagging service knows, and the roles, which it does not."""
        filters = [{"Key": "paybill_workspace", "Values": [workspace]}]
        if tenant is not None:
            filters.append({"Key": "paybill_tenant", "Values": [tenant]})
        answer = _json(
            self.aws,
            "tagging",
            "ResourceGroupsTaggingAPI_20170126.GetResources",
            TagFilters=filters,
        )
        found = [
            found_of(one["ResourceARN"], REGION, {tag["Key"]: tag["Value"] for tag in one["Tags"]})
            for one in answer.json()["ResourceTagMappingList"]
        ]
        for name in re.findall(r"<RoleName>(.*?)</RoleName>", _iam(self.aws, "ListRoles").text):
            told = _iam(self.aws, "ListRoleTags", RoleName=name).text
            tags = dict(re.findall(r"<Key>(.*?)</Key>\s*<Value>(.*?)</Value>", told))
            if tags.get("paybill_workspace") == workspace and tags.get("paybill_tenant") == tenant:
                found.append(Found(type=ROLE, import_id=name, name=name, region="", labels=tags))
        return tuple(found)


def standing(aws: EmulatedAws, request: StackRequest) -> frozenset[str]:
    """Which of a pooled stack's resources stand, asked one by one and not by their labels."""
    name = f"pb-{request.workspace}-{request.tenant}"
    asked = {
        "role": _iam(aws, "GetRole", RoleName=name),
        "policy": _iam(aws, "GetRolePolicy", RoleName=name, PolicyName="tenant"),
        "parameter": _json(aws, "ssm", "AmazonSSM.GetParameter", Name=f"/paybill/{name}/place"),
    }
    return frozenset(one for one, answer in asked.items() if answer.status_code < _ACCEPTED)


def lock_path(request: StackRequest) -> str:
    """Where the lock on a request's state lies."""
    stack = f"{request.cloud}-{request.isolation}"
    return (
        f"/{STATES}/paybill/{request.workspace}/{request.tenant}/{stack}/terraform.tfstate.tflock"
    )


def object_at(aws: EmulatedAws, path: str) -> str | None:
    """What an object of S3 holds; None where there is none."""
    answer = _asked(aws, "s3", "GET", path)
    return answer.text if answer.status_code < _ACCEPTED else None


def _iam(aws: EmulatedAws, action: str, **words: str) -> httpx2.Response:
    return _query(aws, "iam", "2010-05-08", action, **words)


def _query(
    aws: EmulatedAws, service: str, version: str, action: str, **words: str
) -> httpx2.Response:
    return _asked(aws, service, "POST", "/", data={"Action": action, "Version": version, **words})


def _json(aws: EmulatedAws, service: str, target: str, **body: Any) -> httpx2.Response:
    headers = {"X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.1"}
    return _asked(aws, service, "POST", "/", headers=headers, json=body)


def _asked(aws: EmulatedAws, service: str, method: str, path: str, **sent: Any) -> httpx2.Response:
    try:
        return aws._said(service, method, path, **sent)
    except httpx2.HTTPStatusError as error:
        return error.response

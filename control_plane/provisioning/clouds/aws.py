"""What stands in an AWS account, through boto3. It reads, and changes nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from threading import Lock
from typing import Any, Final, cast

from control_plane.domain.isolation import Cloud
from control_plane.provisioning.accounts import CloudAccount
from control_plane.provisioning.clouds.adapter import Open
from control_plane.provisioning.clouds.aws_kinds import ROLE, found_of
from control_plane.provisioning.clouds.endpoint import endpoints
from control_plane.provisioning.clouds.eyes import (
    FOREIGN,
    Eyes,
    Foreign,
    Part,
    Room,
    Standing,
    name_of,
)
from control_plane.provisioning.clouds.faults import failed_status
from control_plane.provisioning.clouds.pages import read_all
from control_plane.provisioning.clouds.port import Found
from control_plane.provisioning.clouds.sdk import Patience, load
from control_plane.provisioning.clouds.secrets import wanted
from control_plane.provisioning.stacks import StackRequest

_ID, _SECRET, _TOKEN = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"
_TAGGING: Final = "resourcegroupstaggingapi"
SERVICES: Final = ("sts", "ec2", "s3", "kms", "iam", "rds", "secretsmanager", "ssm", _TAGGING)
_UNAUTHENTICATED, _FORBIDDEN, _TOO_MANY = 401, 403, 429
_NO_CREDENTIALS: Final = frozenset(
    {"AuthFailure", "ExpiredToken", "ExpiredTokenException", "IncompleteSignature"}
    | {"InvalidAccessKeyId", "InvalidClientTokenId", "InvalidToken", "SignatureDoesNotMatch"}
    | {"UnrecognizedClientException", "InvalidSignatureException"}
)
_DENIED: Final = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"})
_THROTTLED: Final = frozenset({"Throttling", "ThrottlingException", "RequestLimitExceeded"})
_HOMES: Final = {"us-gov-": "us-gov-west-1", "cn-": "cn-north-1"}
_ABSENT: Final = frozenset(
    {"404", "NoSuchBucket", "NoSuchEntity", "NotFoundException", "ResourceNotFoundException"}
    | {"InvalidVpcID.NotFound", "InvalidVpcID.Malformed", "DBInstanceNotFound"}
    | {"DBInstanceNotFoundFault", "InvalidResourceId", "InvalidArnException"}
)
SHARED: Final[Mapping[str, Part]] = {
    "network_id": "network",
    "kms_key_arn": "key",
    "bucket": "storage",
    "database_host": "database",
}


def opens(account: CloudAccount, credentials: Mapping[str, str], patience: Patience) -> Open:
    """How to look into the account. Raises Unavailable where SDK or credentials are missing."""
    make = clients(account, credentials, patience)

    def open_eyes(region: str) -> Eyes:
        @cache
        def client(service: str, at: str = region) -> Any:
            return make(service, at)

        return AwsEyes(account, client, _home(region))

    return open_eyes


def clients(
    account: CloudAccount, credentials: Mapping[str, str], patience: Patience
) -> Callable[[str, str], Any]:
    """What makes a client of boto3 for a service in a region. Raises as `opens`."""
    key_id, secret = wanted("aws", credentials, _ID, _SECRET)
    boto3, config = load("aws", "boto3"), load("aws", "botocore.config")
    settings = config.Config(
        connect_timeout=patience.connect_s,
        read_timeout=patience.read_s,
        retries={"total_max_attempts": 1, "mode": "standard"},
        # Neither a profile nor a variable of this process says where requests go.
        ignore_configured_endpoint_urls=True,
        s3={"addressing_style": "path" if "s3" in account.endpoints else "auto"},
    )
    addresses = endpoints(account, SERVICES)

    session = boto3.session.Session(
        key_id, secret, credentials.get(_TOKEN) or None, botocore_session=_session()
    )
    one_at_a_time = Lock()  # a session may not be shared while it makes a client

    def make(service: str, region: str) -> Any:
        with one_at_a_time:
            return session.client(service, region, endpoint_url=addresses[service], config=settings)

    return make


def _session() -> Any:
    """A session that no file or profile of the worker's user says anything to."""
    nothing = (None, None, None, None)
    no_file = (None, None, os.devnull, None)
    own = {"profile": nothing, "config_file": no_file, "credentials_file": no_file}
    session = load("aws", "botocore.session").Session(session_vars=own)
    session.register_component("data_loader", _loader())
    return session


@cache
def _loader() -> Any:
    # It keeps the services' descriptions: reading them takes longer than asking.
    return load("aws", "botocore.loaders").create_loader()


class AwsEyes:
    """`client(service, region)` makes a client of boto3; `home` is a region that surely is."""

    def __init__(self, account: CloudAccount, client: Any, home: str) -> None:
        self._account = account
        self._client = client
        self._home = home

    @property
    def cloud(self) -> Cloud:
        return "aws"

    @property
    def databases(self) -> frozenset[str]:
        return frozenset({"aws_db_instance", "aws_rds_cluster"})

    def status(self, error: Exception) -> int | None:
        return status_of(error)

    def who(self) -> str:
        return str(self._client("sts", self._home).get_caller_identity()["Account"])

    def knows(self, region: str) -> bool:
        # Regions that the account has not opted into are left out.
        answer = self._client("ec2", self._home).describe_regions(AllRegions=False)
        return region in {one["RegionName"] for one in answer["Regions"]}

    def names(self, request: StackRequest) -> tuple[tuple[Part, str], ...]:
        if request.isolation == "pooled":
            return ()
        return (("storage", name_of(request)),)

    def held(self, part: Part, name: str) -> Standing | Foreign | None:
        try:
            return self._storage(name)
        except Exception as error:
            if self.status(error) == _FORBIDDEN or code_of(error) in {"403", "400", "301"}:
                return FOREIGN
            raise

    def room(self, request: StackRequest) -> tuple[Room, ...]:
        if request.isolation != "silo":
            return ()
        counted = self._client("rds").describe_account_attributes()["AccountQuotas"]
        return tuple(
            Room(about="DB instances", limit=float(one["Max"]), used=float(one["Used"]))
            for one in counted
            if one["AccountQuotaName"] == "DBInstances"
        )

    def part(self, part: Part, value: str) -> Standing | None:
        looks = {
            "network": self._network,
            "key": self._key,
            "identity": self._identity,
            "storage": self._storage,
            "secret": self._secret,
            "database": self._database,
        }
        try:
            return looks[part](value)
        except Exception as error:
            if code_of(error) in _ABSENT:
                return None
            raise

    def shared_part(self, key: str) -> Part | None:
        return SHARED.get(key)

    def labelled(self, workspace: str, tenant: str | None) -> Iterator[list[Found]]:
        filters = [{"Key": "paybill_workspace", "Values": [workspace]}]
        if tenant is not None:
            filters.append({"Key": "paybill_tenant", "Values": [tenant]})
        for region in self._account.regions:
            pager = self._client(_TAGGING, region).get_paginator("get_resources")
            for page in pager.paginate(TagFilters=filters, ResourcesPerPage=100):
                tagged = page["ResourceTagMappingList"]
                yield [found_of(one["ResourceARN"], region, _tags(one["Tags"])) for one in tagged]
        yield from self._roles(workspace)

    def _roles(self, workspace: str) -> Iterator[list[Found]]:
        # The tagging API leaves roles out, and a list of roles leaves their tags out.
        iam = self._client("iam")
        pages = iam.get_paginator("list_roles").paginate(PaginationConfig={"PageSize": 100})
        for role in read_all("aws", (page["Roles"] for page in pages)):
            if role["RoleName"].startswith(f"pb-{workspace}-"):
                tags = iam.list_role_tags(RoleName=role["RoleName"])["Tags"]
                name = str(role["RoleName"])
                yield [Found(type=ROLE, import_id=name, name=name, region="", labels=_tags(tags))]

    def _network(self, value: str) -> Standing | None:
        found = self._client("ec2").describe_vpcs(VpcIds=[value])["Vpcs"]
        return Standing(_tags(found[0].get("Tags", []))) if found else None

    def _key(self, value: str) -> Standing | None:
        kms = self._client("kms")
        if not kms.describe_key(KeyId=value)["KeyMetadata"]["Enabled"]:
            return None
        tags = kms.list_resource_tags(KeyId=value)["Tags"]
        return Standing({one["TagKey"]: one["TagValue"] for one in tags})

    def _identity(self, value: str) -> Standing | None:
        role = self._client("iam").get_role(RoleName=value.rsplit("/", 1)[-1])["Role"]
        return Standing(_tags(role.get("Tags", [])))

    def _storage(self, value: str) -> Standing | None:
        s3, owner = self._client("s3"), self._account.account
        name = value.rsplit(":", 1)[-1]
        try:
            s3.head_bucket(Bucket=name, ExpectedBucketOwner=owner)
            tags = s3.get_bucket_tagging(Bucket=name, ExpectedBucketOwner=owner)["TagSet"]
        except Exception as error:
            if code_of(error) in {"404", "NoSuchBucket"}:
                return None
            if code_of(error) == "NoSuchTagSet":
                return Standing({})
            raise
        return Standing(_tags(tags))

    def _secret(self, value: str) -> Standing | None:
        if value.startswith("/") or ":parameter/" in value:
            name = value.split(":parameter", 1)[-1]
            told = self._client("ssm").list_tags_for_resource(
                ResourceType="Parameter", ResourceId=name
            )
            return Standing(_tags(told["TagList"]))
        told = self._client("secretsmanager").describe_secret(SecretId=value)
        return None if told.get("DeletedDate") else Standing(_tags(told.get("Tags", [])))

    def _database(self, value: str) -> Standing | None:
        name = value.split(".", 1)[0]  # an instance's host begins with its identifier
        found = self._client("rds").describe_db_instances(DBInstanceIdentifier=name)
        return Standing(_tags(found["DBInstances"][0].get("TagList", [])))


def status_of(error: Exception) -> int | None:
    """What an error of boto3 means, as a status of HTTP; None where there was no answer."""
    code = code_of(error)
    if code in _NO_CREDENTIALS:
        return _UNAUTHENTICATED
    if code in _DENIED:
        return _FORBIDDEN
    if code in _THROTTLED:
        return _TOO_MANY
    return failed_status(_told(error, "ResponseMetadata").get("HTTPStatusCode"))


def _home(region: str) -> str:
    """A region of the same partition: what is no region has no address to ask."""
    for prefix, home in _HOMES.items():
        if region.startswith(prefix):
            return home
    return "us-east-1"


def code_of(error: Exception) -> str:
    """AWS's own word for what went wrong; empty where there is none."""
    return str(_told(error, "Error").get("Code", ""))


def _told(error: Exception, part: str) -> dict[str, Any]:
    answer: object = getattr(error, "response", None)
    return cast("dict[str, Any]", answer).get(part, {}) if isinstance(answer, dict) else {}


def _tags(tags: list[dict[str, str]]) -> dict[str, str]:
    return {one["Key"]: one["Value"] for one in tags}

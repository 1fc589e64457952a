"""AWS for the contract: moto's server behind a door of ours that checks each signature and can fail. Not AWS."""

from __future__ import annotations

import http.client
import importlib
import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from control_plane.domain.isolation import Cloud
from control_plane.provisioning.clouds.eyes import Part
from control_plane.provisioning.stacks import StackRequest, labels
from tests.clouds.bench import PLANTED, Bench, account_of, name_of
from tests.clouds.server import Answer, Asked, StubServer, failed_words

ACCOUNT, KEY_ID = "123456789012", "AKIAPLANTEDKEYID0001"
SERVICES = [
    "sts",
    "ec2",
    "s3",
    "kms",
    "iam",
    "rds",
    "secretsmanager",
    "ssm",
    "resourcegroupstaggingapi",
]
_SIGNED = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(\w+)/\d+/([a-z0-9-]+)/([a-z0-9]+)/aws4_request, "
    r"SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})"
)
_READS = re.compile(r"(\w+\.)?(Get|List|Describe)[A-Za-z]+")
_QUOTA = (
    "<DescribeAccountAttributesResponse><DescribeAccountAttributesResult><AccountQuotas>"
    "<AccountQuota><AccountQuotaName>DBInstances</AccountQuotaName><Used>{}</Used><Max>40</Max>"
    "</AccountQuota></AccountQuotas></DescribeAccountAttributesResult>"
    "</DescribeAccountAttributesResponse>"
)


def _xml(status: int, content: str) -> Answer:
    return Answer(status, content.encode(), {"Content-Type": "text/xml"})


def _fails(asked: Asked, status: int) -> Answer:
    code = {401: "InvalidClientTokenId", 403: "AccessDenied", 429: "Throttling"}.get(status, "Odd")
    if "x-amz-target" in asked.headers:
        return Answer(status, {"__type": code, "message": failed_words(asked)})
    said = f"<Error><Code>{code}</Code><Message>{failed_words(asked)}</Message></Error>"
    return _xml(status, f"<ErrorResponse>{said}</ErrorResponse>")


class AwsBench(Bench):
    """boto3 asks our door; what a test arranges goes to moto directly."""

    cloud: Cloud = "aws"
    regions = ("eu-central-1", "us-east-1")
    other_account = "210987654321"
    parts: tuple[Part, ...] = ("network", "key", "identity", "storage", "secret", "database")
    bare: frozenset[Part] = frozenset()
    page_items = 100
    shared_storage = "pb-shared"
    has_quota = True

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._used = 3
        self._foreign: set[str] = set()
        self._made: dict[str, str] = {}
        self.server = StubServer(self._answers, fails=_fails)
        self.credentials = {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": PLANTED}
        self.wrong_credentials = [
            {**self.credentials, "AWS_SECRET_ACCESS_KEY": "another"},
            {**self.credentials, "AWS_ACCESS_KEY_ID": "AKIASOMEBODYELSE0001"},
        ]
        self.shared: Mapping[str, str] = self._plan_shared()
        addresses = dict.fromkeys(SERVICES, self.server.url)
        self.account = account_of(ACCOUNT, self.regions, addresses, self.shared)

    def stand(self, request: StackRequest) -> dict[str, object]:
        borne, name = labels(request), name_of(request)
        tags = [{"Key": key, "Value": value} for key, value in borne.items()]
        vpc = self._vpc(tags, request.region)
        key = self._of("kms", request.region).create_key(
            Tags=[{"TagKey": one["Key"], "TagValue": one["Value"]} for one in tags]
        )
        role = self._of("iam").create_role(RoleName=name, AssumeRolePolicyDocument="{}", Tags=tags)
        self._bucket(name, tags, request.region)
        secret = self._of("secretsmanager", request.region).create_secret(
            Name=f"{name}/database", SecretString="x", Tags=tags
        )
        base = self._of("rds", request.region).create_db_instance(
            DBInstanceIdentifier=name,
            DBInstanceClass="db.t4g.small",
            Engine="postgres",
            AllocatedStorage=20,
            Tags=tags,
        )
        self._made = {
            "network": vpc,
            "key": key["KeyMetadata"]["Arn"],
            "identity": name,
            "storage": name,
            "secret": secret["ARN"],
            "database": base["DBInstance"]["DBInstanceArn"],
        }
        return {
            "database": {"engine": "postgres", "host": f"{name}.x.rds", "secret": secret["ARN"]},
            "storage": {"kind": "s3", "name": name, "prefix": ""},
            "key": self._made["key"],
            "identity": role["Role"]["Arn"],
            "network": vpc,
            "labels": borne,
        }

    def stand_shared(self) -> None:
        self._bucket(self.shared["bucket"], [], self.regions[0])

    def take(self, name: str, *, foreign: bool) -> None:
        if foreign:
            self._foreign.add(name)
        else:
            self._bucket(name, [{"Key": "whose", "Value": "another"}], self.regions[0])

    def remove(self, part: Part) -> None:
        value = self._made[part]
        match part:
            case "network":
                self._of("ec2").delete_vpc(VpcId=value)
            case "key":
                self._of("kms").disable_key(KeyId=value.rsplit("/", 1)[-1])
            case "identity":
                self._of("iam").delete_role(RoleName=value)
            case "storage":
                self._of("s3").delete_bucket(Bucket=value)
            case "secret":
                self._of("secretsmanager").delete_secret(
                    SecretId=value, ForceDeleteWithoutRecovery=True
                )
            case "database":
                self._of("rds").delete_db_instance(
                    DBInstanceIdentifier=value.rsplit(":", 1)[-1], SkipFinalSnapshot=True
                )

    def unlabel(self, part: Part) -> None:
        value, names = self._made[part], ["paybill_tenant"]
        match part:
            case "network":
                self._of("ec2").delete_tags(Resources=[value], Tags=[{"Key": names[0]}])
            case "key":
                self._of("kms").untag_resource(KeyId=value, TagKeys=names)
            case "identity":
                self._of("iam").untag_role(RoleName=value, TagKeys=names)
            case "storage":
                self._of("s3").delete_bucket_tagging(Bucket=value)
            case "secret":
                self._of("secretsmanager").untag_resource(SecretId=value, TagKeys=names)
            case "database":
                self._of("rds").remove_tags_from_resource(ResourceName=value, TagKeys=names)

    def fill(self) -> None:
        self._used = 40

    def crowd(self, workspace: str, count: int) -> None:
        tags = [
            {"Key": "paybill_workspace", "Value": workspace},
            {"Key": "paybill_tenant", "Value": "crowd"},
        ]
        for number in range(count):
            self._of("ssm").put_parameter(Name=f"/c/{number}", Value="x", Type="String", Tags=tags)

    def is_token(self, asked: Asked) -> bool:
        return False

    def is_read(self, asked: Asked) -> bool:
        action = asked.headers.get("x-amz-target") or asked.form["Action"]
        return _READS.fullmatch(action) is not None

    def clear(self) -> None:
        """Nothing stands any more."""
        self._tell_moto("/moto-api/reset")

    def _plan_shared(self) -> dict[str, str]:
        self.clear()
        return {"network_id": self._vpc([], self.regions[0]), "bucket": "pb-shared", "unknown": "x"}

    def _vpc(self, tags: list[dict[str, str]], region: str) -> str:
        marked = [{"ResourceType": "vpc", "Tags": tags}] if tags else []
        made = self._of("ec2", region).create_vpc(CidrBlock="10.0.0.0/16", TagSpecifications=marked)
        return str(made["Vpc"]["VpcId"])

    def _bucket(self, name: str, tags: list[dict[str, str]], region: str) -> None:
        s3, place = self._of("s3", region), {"LocationConstraint": region}
        s3.create_bucket(
            Bucket=name, **({} if region == "us-east-1" else {"CreateBucketConfiguration": place})
        )
        if tags:
            s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": tags})

    def _of(self, service: str, region: str | None = None) -> Any:
        return _direct(f"http://{self._host}:{self._port}", service, region or self.regions[0])

    def _answers(self, asked: Asked) -> Answer:
        signed = _SIGNED.fullmatch(asked.headers.get("authorization", ""))
        if signed is None or signed[1] != KEY_ID:
            return _fails(asked, 401)
        if signature(asked, signed[2], signed[3], signed[4], PLANTED) != signed[5]:
            said = "<Error><Code>SignatureDoesNotMatch</Code><Message>no</Message></Error>"
            return _xml(403, f"<ErrorResponse>{said}</ErrorResponse>")
        if asked.method == "HEAD" and asked.path.strip("/") in self._foreign:
            return Answer(403)
        if b"Action=DescribeAccountAttributes" in asked.body and signed[3] == "rds":
            return _xml(200, _QUOTA.format(self._used))  # moto has no answer to this one
        return self._forwarded(asked)

    def _forwarded(self, asked: Asked) -> Answer:
        moto = http.client.HTTPConnection(self._host, self._port, timeout=20)
        headers = {name: value for name, value in asked.headers.items() if name != "connection"}
        moto.request(asked.method, asked.target, asked.body, headers)
        told = moto.getresponse()
        answer = Answer(
            told.status,
            told.read(),
            {
                name: value
                for name, value in told.getheaders()
                if name.lower() not in {"content-length", "connection", "date", "server"}
            },
        )
        moto.close()
        return answer

    def _tell_moto(self, path: str) -> None:
        moto = http.client.HTTPConnection(self._host, self._port, timeout=20)
        moto.request("POST", path)
        assert moto.getresponse().status == 200
        moto.close()


def signature(asked: Asked, region: str, service: str, names: str, secret: str) -> str:
    """What a request must be signed with, by botocore's own rule."""
    auth, request = (importlib.import_module(f"botocore.{name}") for name in ("auth", "awsrequest"))
    credentials = importlib.import_module("botocore.credentials").Credentials(KEY_ID, secret)
    kind = auth.S3SigV4Auth if service == "s3" else auth.SigV4Auth
    signer = kind(credentials, service, region)
    kept = {name: asked.headers[name] for name in names.split(";")}
    url = f"http://{asked.headers['host']}{asked.target}"
    made = request.AWSRequest(asked.method, url, data=asked.body, headers=kept)
    made.context["timestamp"] = asked.headers["x-amz-date"]
    text = signer.string_to_sign(made, signer.canonical_request(made))
    return str(signer.signature(text, made))


@contextmanager
def aws_bench(_folder: Path) -> Generator[AwsBench]:
    bench = AwsBench(*_moto())
    bench.server.start()
    yield bench
    bench.server.stop()


@cache
def _direct(url: str, service: str, region: str) -> Any:
    return importlib.import_module("boto3").client(
        service,
        region,
        endpoint_url=url,
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )


_RUNNING: list[Any] = []


def _moto() -> tuple[str, int]:
    # One for the whole process: it takes a second to start, and can be emptied.
    if not _RUNNING:
        server = importlib.import_module("moto.server").ThreadedMotoServer("127.0.0.1", 0)
        server.start()
        _RUNNING.append(server)
    host, port = _RUNNING[0].get_host_and_port()
    return str(host), int(port)


def end_moto() -> None:
    """End the process's moto, if it runs."""
    while _RUNNING:
        _RUNNING.pop().stop()

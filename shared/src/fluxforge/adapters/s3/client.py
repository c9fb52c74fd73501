"""The S3 client: which bucket, by which keys, and how long it is waited for.

What fails in passing is tried again a bounded number of times with jitter, by the client itself; what is still refused
then is told by `refusals`. Keys never stand in a message or a log.
"""

import functools
from dataclasses import dataclass
from typing import Any, Final

import boto3
from botocore.config import Config
from typing_extensions import override

_ATTEMPTS: Final = 5
_CONNECT_S: Final = 5
_ANSWER_S: Final = 30.0
_CONNECTIONS: Final = 16
_REGION: Final = "us-east-1"


@dataclass(frozen=True, slots=True)
class S3Options:
    """A bucket, or what is below `prefix` in one.

    `endpoint_url`: None is AWS. `access_key_id`, `secret_access_key`: None asks the machine's usual chain of
    credentials. `addressing`: `path` (endpoint/bucket/key), `virtual` (bucket.endpoint/key), or `auto`: path where an
    endpoint is named, else virtual.
    """

    bucket: str
    prefix: str = ""
    region: str | None = None
    endpoint_url: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = None
    addressing: str = "auto"

    @override
    def __repr__(self) -> str:
        """Return where it is, without how to get in."""
        return f"S3Options({self.url})"

    @property
    def url(self) -> str:
        """Where it is, for a message."""
        place = f"s3://{self.bucket}/{self.prefix}".rstrip("/")
        return f"{place} at {self.endpoint_url}" if self.endpoint_url else place

    @property
    def signing_region(self) -> str | None:
        """The region of the signature: whoever names an endpoint of their own seldom has one, and it needs one."""
        return self.region or (_REGION if self.endpoint_url else None)

    @property
    def is_virtual(self) -> bool:
        """Whether the bucket stands in the host's name."""
        return not self.endpoint_url if self.addressing == "auto" else self.addressing == "virtual"


def new_client(options: S3Options, *, attempts: int = _ATTEMPTS, answer_s: float = _ANSWER_S) -> Any:
    """Return a client for this bucket; threads may share it. `answer_s`: how long one answer is waited for."""
    return _session().client(
        "s3",
        endpoint_url=options.endpoint_url,
        aws_access_key_id=options.access_key_id,
        aws_secret_access_key=options.secret_access_key,
        region_name=options.signing_region,
        config=Config(
            s3={"addressing_style": "virtual" if options.is_virtual else "path"},
            retries={"mode": "standard", "total_max_attempts": attempts},
            connect_timeout=_CONNECT_S,
            read_timeout=answer_s,
            max_pool_connections=_CONNECTIONS,
            tcp_keepalive=True,
        ),
    )


@functools.cache
def _session() -> boto3.Session:
    """Return the one session: it holds the description of the protocol, which takes longest to load."""
    return boto3.Session()

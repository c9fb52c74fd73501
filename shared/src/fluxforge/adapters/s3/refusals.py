"""Refusals: what an S3 endpoint or the way to it says, as the errors that tell a caller what to do.

What a person must change (bucket, keys, rights, clock) is a configuration error and is never tried again; everything
else may heal.
"""

import contextlib
from collections.abc import Iterator
from http import HTTPStatus
from typing import Final

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    InvalidRegionError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    PartialCredentialsError,
)

from fluxforge.adapters.s3.client import S3Options
from fluxforge.domain.errors import ConfigurationError, FluxForgeError, ObjectNotFoundError, StoreUnavailableError

TAKEN: Final = frozenset({"PreconditionFailed", "412"})
BEYOND: Final = frozenset({"InvalidRange", "416"})
_ABSENT: Final = frozenset({"NoSuchKey", "NotFound", "404"})
_REMEDIES: Final = {
    "NoSuchBucket": "the bucket does not exist; create it, or name another under s3.bucket",
    "InvalidBucketName": "that is no name of a bucket; expected s3.bucket to be 3 to 63 of a-z, 0-9, '.', '-'",
    "InvalidAccessKeyId": "the endpoint does not know the access key; expected another s3.access_key_id",
    "SignatureDoesNotMatch": "the secret does not fit the access key; expected another s3.secret_access_key",
    "InvalidToken": "the session token is not valid; log in again",
    "ExpiredToken": "the session token has expired; log in again",
    "RequestTimeTooSkewed": "this machine's clock differs too much from the endpoint's; set it (NTP)",
    "PermanentRedirect": "the bucket is in another region; expected its own under s3.region",
    "IllegalLocationConstraintException": "the bucket is in another region; expected its own under s3.region",
    "AuthorizationHeaderMalformed": "the bucket is in another region; expected its own under s3.region",
    "NotImplemented": "the endpoint does not offer what a store needs",
    "AccessDenied": "the keys may not do that; grant them s3:GetObject, PutObject, DeleteObject and ListBucket here",
    "403": "the keys are unknown or may not do that; check s3.access_key_id, s3.secret_access_key and their rights",
}


def code_of(error: ClientError) -> str:
    """Return the endpoint's word for what it refused; an answer without a body has its HTTP status for one."""
    return str(error.response.get("Error", {}).get("Code", ""))


def told(options: S3Options, operation: str, key: str, error: ClientError | BotoCoreError | OSError) -> FluxForgeError:
    """Return the error that says what to do."""
    if isinstance(error, ClientError):
        code = code_of(error)
        if code in _ABSENT:
            return ObjectNotFoundError(key)
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        remedy = _REMEDIES.get(code) or (_REMEDIES["AccessDenied"] if status == HTTPStatus.FORBIDDEN else None)
        if remedy:
            return ConfigurationError(f"{options.url}: {operation} of {key!r} was refused ({code}): {remedy}")
        return StoreUnavailableError(operation, key, f"{code}: {error.response.get('Error', {}).get('Message', '')}")
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return ConfigurationError(f"{options.url}: no keys to get in; expected s3.access_key_id and secret_access_key")
    if isinstance(error, NoRegionError | InvalidRegionError | ParamValidationError):
        return ConfigurationError(f"{options.url}: {error}")
    return StoreUnavailableError(operation, key, f"{options.url}: {error}")


@contextlib.contextmanager
def refusals(options: S3Options, operation: str, key: str) -> Iterator[None]:
    """Tell whatever is refused inside in our own words."""
    try:
        yield
    except (ClientError, BotoCoreError, OSError) as error:
        raise told(options, operation, key, error) from error

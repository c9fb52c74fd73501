"""A store on a bucket: create and move take a key by a conditional write, so that nothing is ever overwritten.

An object appears whole or not at all, and stands once a call returns, as far as the endpoint keeps its word; `probe`
asks for that word at every start. A move copies and then deletes: killed in between, both keys stand, with one content.
"""

import secrets
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError
from typing_extensions import override

from fluxforge.adapters.s3.client import S3Options, new_client
from fluxforge.adapters.s3.refusals import BEYOND, code_of, refusals
from fluxforge.adapters.s3.upload import PART_BYTES, Body, File, Uploader
from fluxforge.domain.errors import ConfigurationError, ObjectExistsError, ObjectNotFoundError, StoreUnavailableError
from fluxforge.domain.layout import TMP
from fluxforge.ports.store import Store, check_key, check_prefix

_READS: Final = 3
_RIVALS: Final = 8
_STALE_UPLOAD: Final = timedelta(days=1)


class S3Store(Store):
    """Objects below a prefix of a bucket. Objects of more than 5 GB cannot be moved."""

    __slots__ = ("_client", "_options", "_prefix", "_uploader")

    def __init__(self, options: S3Options, *, client: Any = None, part_bytes: int = PART_BYTES) -> None:
        self._options = options
        self._prefix = f"{options.prefix.strip('/')}/".removeprefix("/")
        try:
            self._client = client or new_client(options)
        except (BotoCoreError, ValueError) as error:  # of an endpoint that is no URL, a region that is no name
            raise ConfigurationError(f"{options.url}: {error}") from error
        self._uploader = Uploader(self._client, options.bucket, part_bytes)

    @override
    def __reduce__(self) -> tuple[type["S3Store"], tuple[S3Options]]:
        """Return how to open it in another process, which gets a client of its own."""
        return S3Store, (self._options,)

    @property
    def prefix(self) -> str:
        """Where it begins in the bucket; "" or a path with a `/` at its end."""
        return self._prefix

    @property
    @override
    def place(self) -> str:
        return self._options.url

    @override
    def probe(self) -> None:
        """See the port: of several writers of one key exactly one must win. Uploads unfinished for a day are swept."""
        try:
            with refusals(self._options, "look", self._options.bucket):
                answer = self._client.head_bucket(Bucket=self._options.bucket)
        except ObjectNotFoundError as error:
            raise ConfigurationError(
                f"{self.place}: the bucket does not exist; create it, or name another under s3.bucket"
            ) from error
        key = f"{TMP}/probe/{secrets.token_hex(8)}"
        try:
            winners = self._race(key)
            if winners != 1:
                raise ConfigurationError(
                    f"{self.place}: {winners} of {_RIVALS} writers of one key won, expected 1: the endpoint does not "
                    "keep If-None-Match, without which segments could be overwritten; expected AWS S3, SeaweedFS "
                    "or another that does"
                )
        finally:
            self.delete(key)
        self._sweep(parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]))

    @override
    def create(self, key: str, body: bytes) -> None:
        check_key(key)
        with refusals(self._options, "create", key):
            self._uploader.upload(self._prefix + key, Body(body), name=key)

    @override
    def adopt(self, key: str, path: Path) -> None:
        check_key(key)
        with refusals(self._options, "adopt", key):
            self._uploader.upload(self._prefix + key, File(path), name=key)

    @override
    def read(self, key: str, *, offset: int = 0, length: int | None = None) -> bytes:
        check_key(key)
        if length == 0:
            if self.size(key) is None:
                raise ObjectNotFoundError(key)
            return b""
        last = "" if length is None else offset + length - 1
        span = {"Range": f"bytes={offset}-{last}"} if offset or length is not None else {}
        with refusals(self._options, "read", key):
            return self._read(self._prefix + key, span)

    @override
    def size(self, key: str) -> int | None:
        check_key(key)
        try:
            with refusals(self._options, "size", key):
                found = self._client.head_object(Bucket=self._options.bucket, Key=self._prefix + key)
        except ObjectNotFoundError:
            return None
        return int(found["ContentLength"])

    @override
    def keys(self, prefix: str) -> Iterator[str]:
        check_prefix(prefix)
        below = f"{self._prefix}{prefix}/" if prefix else self._prefix
        found = []
        with refusals(self._options, "list", prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._options.bucket, Prefix=below)
            for page in pages:
                found += [item["Key"].removeprefix(self._prefix) for item in page.get("Contents", ())]
        # Not every endpoint lists in the order of whole keys, and some list the folders that they have.
        yield from sorted(key for key in found if not key.endswith("/"))

    @override
    def move(self, key: str, target: str) -> None:
        check_key(key)
        check_key(target)
        with refusals(self._options, "move", key):
            self._uploader.copy(self._prefix + key, self._prefix + target, name=target)
            self._client.delete_object(Bucket=self._options.bucket, Key=self._prefix + key)

    @override
    def delete(self, key: str) -> None:
        check_key(key)
        with refusals(self._options, "delete", key):
            self._client.delete_object(Bucket=self._options.bucket, Key=self._prefix + key)

    def _read(self, key: str, span: dict[str, str]) -> bytes:
        for left in reversed(range(_READS)):
            try:
                answer = self._client.get_object(Bucket=self._options.bucket, Key=key, **span)
                body: bytes = answer["Body"].read()
            except ClientError as error:
                if code_of(error) in BEYOND:
                    return b""
                raise
            except (BotoCoreError, OSError):  # the client tries its requests again, but not the body it reads
                if not left:
                    raise
            else:
                return body
        raise AssertionError("unreachable")

    def _race(self, key: str) -> int:
        """Let several write one key at once; return how many were told that they did."""
        won: list[int] = []
        refused: list[BaseException] = []

        def write(rival: int) -> None:
            try:
                self.create(key, b"%d" % rival)
            except ObjectExistsError:
                return
            except (ConfigurationError, StoreUnavailableError) as error:
                refused.append(error)
            else:
                won.append(rival)

        threads = [threading.Thread(target=write, args=(rival,)) for rival in range(_RIVALS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if refused:
            raise refused[0]
        return len(won)

    def _sweep(self, now: datetime) -> None:
        bucket = self._options.bucket
        try:
            uploads = self._client.list_multipart_uploads(Bucket=bucket, Prefix=self._prefix).get("Uploads", ())
            for upload in uploads:
                if upload["Initiated"] < now - _STALE_UPLOAD:
                    self._client.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
        except ClientError:
            return  # a right that nothing else needs; a rule of the bucket may do the same

"""An upload: a whole object entered under a key that nobody has, or nothing at all.

The key is taken by the write itself (`If-None-Match: *`). An answer that gets lost leaves open who took it: each upload
carries a mark of its own, and where the key is found taken, the mark tells whether we did. What the endpoint says it
has stored is compared with what was sent. (s3transfer, boto3's own uploader, cannot write conditionally.)
"""

import contextlib
import hashlib
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from botocore.exceptions import BotoCoreError, ClientError
from typing_extensions import override

from fluxforge.adapters.s3.refusals import TAKEN, code_of
from fluxforge.domain.errors import ObjectExistsError, StoreUnavailableError

PART_BYTES: Final = 16 * 2**20
_MARK: Final = "fluxforge-write"
_MD5: Final = re.compile(r"[0-9a-f]{32}(-\d+)?")
_NO_SUCH_UPLOAD: Final = "NoSuchUpload"


class Source(Protocol):
    """Bytes that are there for as long as it takes."""

    size_bytes: int

    def part(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`, or fewer at the end."""
        ...


class Body(Source):
    """Bytes in memory."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.size_bytes = len(body)

    @override
    def part(self, offset: int, length: int) -> bytes:
        return self._body if length >= self.size_bytes else self._body[offset : offset + length]


class File(Source):
    """A finished file.

    Raises:
        OSError: It cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.size_bytes = path.stat().st_size

    @override
    def part(self, offset: int, length: int) -> bytes:
        with self._path.open("rb") as file:
            file.seek(offset)
            return file.read(length)


@dataclass(frozen=True, slots=True)
class Uploader:
    """Writes objects into one bucket; `key` is the whole key there, `name` what the store calls it."""

    client: Any
    bucket: str
    part_bytes: int = PART_BYTES

    def upload(self, key: str, source: Source, *, name: str) -> None:
        """Enter an object.

        Raises:
            ObjectExistsError: The key is somebody else's; nothing changed.
            StoreUnavailableError: What stands there is not what was sent; it was removed.
            ClientError, BotoCoreError, OSError: See `refusals`.
        """
        mark = secrets.token_hex(16)
        try:
            if source.size_bytes <= self.part_bytes:
                stored, sent = self._put(key, source.part(0, source.size_bytes), mark)
            else:
                stored, sent = self._put_parts(key, source, mark)
        except ClientError as error:
            if code_of(error) not in TAKEN:
                raise
            if not self.is_ours(key, mark):
                raise ObjectExistsError(name) from error
            return
        if stored is not None and stored != sent:
            self.client.delete_object(Bucket=self.bucket, Key=key)
            raise StoreUnavailableError("write", name, f"expected to be stored as {sent}, was {stored}")

    def copy(self, key: str, target: str, *, name: str) -> None:
        """Give an object a second key.

        Raises:
            ObjectExistsError: The key is somebody else's; nothing changed.
            ClientError, BotoCoreError: See `refusals`.
        """
        mark = secrets.token_hex(16)
        try:
            self.client.copy_object(
                Bucket=self.bucket,
                Key=target,
                CopySource={"Bucket": self.bucket, "Key": key},
                MetadataDirective="REPLACE",
                Metadata={_MARK: mark},
                IfNoneMatch="*",
            )
        except ClientError as error:
            if code_of(error) not in TAKEN:
                raise
            if not self.is_ours(target, mark):
                raise ObjectExistsError(name) from error

    def is_ours(self, key: str, mark: str) -> bool:
        """Return whether the object under a taken key came by the upload of this mark."""
        try:
            found = self.client.head_object(Bucket=self.bucket, Key=key)
        except ClientError as error:
            if code_of(error) == "404":  # taken by what is no object: a folder where folders are real
                return False
            raise
        return bool(found.get("Metadata", {}).get(_MARK) == mark)

    def _put(self, key: str, body: bytes, mark: str) -> tuple[str | None, str]:
        answer = self.client.put_object(Bucket=self.bucket, Key=key, Body=body, IfNoneMatch="*", Metadata={_MARK: mark})
        return _tag(answer), _md5(body).hexdigest()

    def _put_parts(self, key: str, source: Source, mark: str) -> tuple[str | None, str]:
        at = {"Bucket": self.bucket, "Key": key}
        at["UploadId"] = self.client.create_multipart_upload(**at, Metadata={_MARK: mark})["UploadId"]
        try:
            tags, digests = [], b""
            for number, part in enumerate(_parts(source, self.part_bytes), 1):
                tags.append(self.client.upload_part(**at, PartNumber=number, Body=part)["ETag"])
                digests += _md5(part).digest()
            listed = {"Parts": [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(tags, 1)]}
            answer = self._complete(at, listed, mark)
        except BaseException:
            with contextlib.suppress(ClientError, BotoCoreError):  # what stays is swept by a later probe
                self.client.abort_multipart_upload(**at)
            raise
        return answer and _tag(answer), f"{_md5(digests).hexdigest()}-{len(tags)}"

    def _complete(self, at: dict[str, str], listed: dict[str, Any], mark: str) -> Any:
        try:
            return self.client.complete_multipart_upload(**at, MultipartUpload=listed, IfNoneMatch="*")
        except ClientError as error:
            if code_of(error) == _NO_SUCH_UPLOAD and self.is_ours(at["Key"], mark):
                return None  # done before, and the answer was lost
            raise


def _parts(source: Source, part_bytes: int) -> Iterator[bytes]:
    for offset in range(0, source.size_bytes, part_bytes):
        yield source.part(offset, part_bytes)


def _tag(answer: dict[str, Any]) -> str | None:
    """Return the MD5 the endpoint computed; None where its tags are something else, as with keys of its own."""
    tag = str(answer.get("ETag", "")).strip('"')
    return tag if _MD5.fullmatch(tag) and "ServerSideEncryption" not in answer else None


def _md5(body: bytes) -> Any:
    return hashlib.md5(body, usedforsecurity=False)

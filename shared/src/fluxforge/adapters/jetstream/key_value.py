"""A key-value bucket: the last message of each subject of a stream, written by compare-and-set.

The layout is that of NATS key-value buckets, so the `nats` tool reads them; reads go to the stream's leader.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from fluxforge.adapters.jetstream.api import (
    EXPECTED_SUBJECT_SEQUENCE,
    JSON,
    NS_PER_S,
    WRONG_LAST,
    Api,
    ApiError,
    ErrCode,
)
from fluxforge.domain.errors import BusUnavailableError

_OPERATION: Final = "KV-Operation"
_DELETED: Final = "DEL"
_DEDUPE_S: Final = 120


@dataclass(frozen=True, slots=True)
class Versioned:
    """A value and the revision a compare-and-set of it needs; `value` None: deleted at this revision."""

    value: bytes | None
    revision: int


class Bucket:
    """One bucket."""

    def __init__(self, api: Api, name: str) -> None:
        self._api = api
        self._name = name
        self.stream = f"KV_{name}"

    async def keys(self) -> Sequence[str]:
        """Return every key ever written and not expired, sorted."""
        prefix = self._subject("")
        info = await self._require(subjects=f"{prefix}>")
        return sorted(subject.removeprefix(prefix) for subject in info["state"].get("subjects") or ())

    async def get(self, key: str) -> Versioned | None:
        """Return what stands under a key, or None where it was never written, was removed or has expired."""
        message = await self._api.message(self.stream, {"last_by_subj": self._subject(key)})
        if message is None:
            await self._require()
            return None
        is_deleted = message.headers.get(_OPERATION) is not None
        return Versioned(None if is_deleted else message.payload, message.seq)

    async def put(self, key: str, value: bytes, *, revision: int) -> int | None:
        """Write a value over `revision` (0: nothing stands there); return the new revision, or None on a conflict.

        An unknown outcome is settled by reading again: the own value counts as written.
        """
        try:
            return await self._store(key, value, revision, {})
        except BusUnavailableError:
            written = await self.get(key)
            if written is None or written.value != value or written.revision == revision:
                raise
            return written.revision

    async def delete(self, key: str, *, revision: int) -> bool:
        """Mark a key as deleted if it stands at `revision`; return whether it did."""
        return await self._store(key, b"", revision, {_OPERATION: _DELETED}) is not None

    async def remove(self, key: str, *, revision: int) -> bool:
        """Remove a key without a trace if it stands at `revision`; return whether nothing stands there now.

        A purge of everything up to a sequence is the one conditional removal there is: what was written later stays.
        """
        purge = {"filter": self._subject(key), "seq": revision + 1}
        try:
            await self._api.call(f"STREAM.PURGE.{self.stream}", purge)
        except ApiError as error:
            if error.err_code != ErrCode.STREAM_NOT_FOUND:
                raise
        return await self.get(key) is None

    async def _require(self, *, subjects: str | None = None) -> JSON:
        info = await self._api.stream_info(self.stream, subjects=subjects)
        if info is None:
            raise BusUnavailableError(f"look into bucket {self._name}", "it does not exist; run `fluxforge provision`")
        return info

    async def _store(self, key: str, value: bytes, revision: int, headers: dict[str, str]) -> int | None:
        try:
            expected = {EXPECTED_SUBJECT_SEQUENCE: str(revision)}
            return (await self._api.store(self._subject(key), value, {**headers, **expected})).seq
        except ApiError as error:
            if error.err_code not in WRONG_LAST:
                raise
        written = await self.get(key)  # a write of ours whose answer was lost may be what stands there
        is_ours = written is not None and not headers and written.value == value and written.revision != revision
        return written.revision if written is not None and is_ours else None

    def _subject(self, key: str) -> str:
        return f"$KV.{self._name}.{key}"


def bucket_config(name: str, *, replicas: int, ttl_s: int = 0, size_bytes_max: int) -> dict[str, Any]:
    """Return the configuration of a bucket's stream; with `ttl_s` its keys expire."""
    dedupe_s = min(_DEDUPE_S, ttl_s) if ttl_s else _DEDUPE_S
    return {
        "name": f"KV_{name}",
        "subjects": [f"$KV.{name}.>"],
        "retention": "limits",
        "storage": "file",
        "discard": "new",
        "max_msgs_per_subject": 1,
        "max_bytes": size_bytes_max,
        "max_msgs": -1,
        "max_msg_size": -1,
        "max_consumers": -1,
        "max_age": ttl_s * NS_PER_S,
        "num_replicas": replicas,
        "duplicate_window": dedupe_s * NS_PER_S,
        "allow_rollup_hdrs": True,
        "deny_delete": True,
        "allow_direct": False,
    }

"""JetStream's API over plain requests: the calls FluxForge makes, with refusals as typed errors.

Messages are read by MSG.GET, which the stream's leader answers; direct get, which any replica may answer, is not used.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Any, Final

import orjson

from fluxforge.adapters.jetstream.connection import Connection
from fluxforge.domain.errors import BusUnavailableError, FatalError

JSON = dict[str, Any]
NS_PER_S: Final = 1_000_000_000
EXPECTED_SEQUENCE: Final = "Nats-Expected-Last-Sequence"
EXPECTED_SUBJECT_SEQUENCE: Final = "Nats-Expected-Last-Subject-Sequence"
EXPECTED_MESSAGE_ID: Final = "Nats-Expected-Last-Msg-Id"


class ErrCode(IntEnum):
    """The server's error codes that are told apart."""

    CONSUMER_NOT_FOUND = 10014
    MESSAGE_NOT_FOUND = 10037
    STORAGE_EXCEEDED = 10047
    STREAM_NAME_IN_USE = 10058
    STREAM_NOT_FOUND = 10059
    WRONG_LAST_MESSAGE_ID = 10070
    WRONG_LAST_SEQUENCE = 10071
    STORE_FAILED = 10077  # the stream is full
    STREAM_SEALED = 10109
    WRONG_LAST_SEQUENCE_CONSTANT = 10164


WRONG_LAST: Final = frozenset(
    {ErrCode.WRONG_LAST_SEQUENCE, ErrCode.WRONG_LAST_SEQUENCE_CONSTANT, ErrCode.WRONG_LAST_MESSAGE_ID}
)
_HANDLED: Final = frozenset(int(code) for code in ErrCode)
SERVER_TROUBLE: Final = 500
_EPOCH: Final = datetime.fromtimestamp(0, tz=UTC)


class ApiError(FatalError):
    """The server refused a request. Where nobody knows the reason it ends the process."""

    def __init__(self, operation: str, code: int, err_code: int, description: str) -> None:
        super().__init__(f"the bus refused to {operation}: {description} ({code}, {err_code})")
        self.operation = operation
        self.code = code
        self.err_code = err_code
        self.description = description


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message as it stands in a stream; `stored_ns`: since when, ns UTC by the server's clock."""

    subject: str
    seq: int
    headers: Mapping[str, str]
    payload: bytes
    stored_ns: int = 0


@dataclass(frozen=True, slots=True)
class PubAck:
    """The answer to a stored message; `duplicate`: its id stood there already, at `seq`."""

    seq: int
    duplicate: bool


class Api:
    """The calls. Every one raises `BusUnavailableError` where the outcome is unknown and `ApiError` where refused."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def call(self, verb: str, body: Mapping[str, Any] | None = None) -> JSON:
        """Call `$JS.API.<verb>` and return the answer."""
        answer = await self.connection.request(f"$JS.API.{verb}", orjson.dumps(body) if body else b"", operation=verb)
        return checked(verb, answer.data)

    async def message(self, stream: str, query: Mapping[str, Any]) -> StoredMessage | None:
        """Return one message, or None where there is no such message or stream.

        `query`: `seq`, `seq` and `next_by_subj` (the next one from there on), or `last_by_subj`.
        """
        try:
            found = (await self.call(f"STREAM.MSG.GET.{stream}", query))["message"]
        except ApiError as error:
            if error.err_code in (ErrCode.MESSAGE_NOT_FOUND, ErrCode.STREAM_NOT_FOUND):
                return None
            raise
        return StoredMessage(
            subject=found["subject"],
            seq=found["seq"],
            headers=_headers(base64.b64decode(found.get("hdrs", ""))),
            payload=base64.b64decode(found.get("data", "")),
            stored_ns=time_ns(found["time"]) if "time" in found else 0,
        )

    async def stream_info(self, stream: str, *, subjects: str | None = None) -> JSON | None:
        """Return what the server says of a stream, or None where there is none; `subjects` counts those it matches."""
        try:
            return await self.call(f"STREAM.INFO.{stream}", {"subjects_filter": subjects} if subjects else None)
        except ApiError as error:
            if error.err_code == ErrCode.STREAM_NOT_FOUND:
                return None
            raise

    async def stream_names(self, subjects: str) -> list[str]:
        """Return the names of all streams that listen to a subject these subjects match."""
        names: list[str] = []
        while True:
            page = await self.call("STREAM.NAMES", {"subject": subjects, "offset": len(names)})
            names += page["streams"] or ()
            if len(names) >= page["total"] or not page["streams"]:
                return names

    async def store(self, subject: str, payload: bytes, headers: Mapping[str, str]) -> PubAck:
        """Publish into a stream and return the server's word that it is stored."""
        operation = f"publish to {subject}"
        answer = await self.connection.request(subject, payload, operation=operation, headers=headers)
        return pub_ack(operation, answer.data)


def time_ns(text: str) -> int:
    """Return a time of the server's, such as `2026-11-23T09:41:10.123456789Z`, in ns UTC, to the microsecond."""
    return (datetime.fromisoformat(text) - _EPOCH) // timedelta(microseconds=1) * 1_000


def checked(operation: str, answer: bytes) -> JSON:
    """Return an answer's content, or raise what it says went wrong."""
    content: JSON = orjson.loads(answer)
    error = content.get("error")
    if error is None:
        return content
    code, err_code, description = error.get("code", 0), error.get("err_code", 0), error.get("description", "")
    if code >= SERVER_TROUBLE and err_code not in _HANDLED:
        raise BusUnavailableError(operation, f"{description} ({code}, {err_code})")
    raise ApiError(operation, code, err_code, description)


def pub_ack(operation: str, answer: bytes) -> PubAck:
    """Return the acknowledgement of a publish, or raise what it says went wrong."""
    content = checked(operation, answer)
    return PubAck(seq=content["seq"], duplicate=content.get("duplicate", False))


def _headers(raw: bytes) -> dict[str, str]:
    """Return the headers of their wire form, whose first line is the protocol version."""
    lines = raw.decode(errors="replace").split("\r\n")[1:]
    return {name.strip(): value.strip() for name, colon, value in (line.partition(":") for line in lines) if colon}

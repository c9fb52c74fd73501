"""Inspection: what a person should know of a bus before trusting it. Nothing is changed.

What is found is told, not judged: that is the caller's.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fluxforge.adapters.jetstream import work_queue
from fluxforge.adapters.jetstream.api import Api, ApiError, ErrCode, time_ns
from fluxforge.adapters.jetstream.connection import Connection
from fluxforge.adapters.jetstream.durability import syncs_always
from fluxforge.adapters.jetstream.options import BusOptions
from fluxforge.adapters.jetstream.provision import consumer_of, streams_of
from fluxforge.domain.lane import LANE_SUBJECTS
from fluxforge.ports.clock import Clock

_ASKED: Final = 3
_LOSSLESS: Final = {"retention": "limits", "storage": "file", "discard": "new", "max_age": 0, "max_msgs": -1}
"""What a lane's stream must be set to: else it loses what it acknowledged, or forgets it."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A setting on the bus that is not what was provisioned."""

    where: str
    setting: str
    expected: object
    found: object


@dataclass(frozen=True, slots=True)
class Fill:
    """How full a stream is that refuses more at its limit."""

    stream: str
    size_bytes: int
    size_bytes_max: int


@dataclass(frozen=True, slots=True)
class ClockReading:
    """How far the bus' clock is ahead of ours, give or take `error_ns`."""

    offset_ns: int
    error_ns: int


@dataclass(frozen=True, slots=True)
class Inspection:
    """A bus as it was found. `syncs_always` None: its monitoring does not tell; `clock` None: nothing tells its time.

    `lossy`: settings with which streams of lanes lose data.
    """

    server: str
    version: str
    syncs_always: bool | None
    clock: ClockReading | None
    missing: Sequence[str]
    differences: Sequence[Difference]
    lossy: Sequence[Difference]
    lanes: Sequence[Fill]


async def inspect(options: BusOptions, clock: Clock, *, name: str) -> Inspection:
    """Look at a bus.

    Raises:
        BusUnavailableError: No server answered.
        ConfigurationError: It refuses the credentials or the payload size.
        FatalError: It does not allow us to look.
    """
    connection = await Connection.open(options, name)
    try:
        api = Api(connection)
        missing, differences = await _provisioned(api, options)
        lossy, lanes = await _lanes(api)
        return Inspection(
            server=connection.server,
            version=connection.server_version,
            syncs_always=await syncs_always(connection, options),
            clock=await _clock(api, clock),
            missing=missing,
            differences=differences,
            lossy=lossy,
            lanes=lanes,
        )
    finally:
        await connection.close()


async def _provisioned(api: Api, options: BusOptions) -> tuple[list[str], list[Difference]]:
    missing: list[str] = []
    differences: list[Difference] = []
    for expected in streams_of(options):
        name = f"stream {expected['name']}"
        info = await api.stream_info(expected["name"])
        if info is None:
            missing.append(name)
        else:
            differences += _differences(name, expected, info["config"])
    consumer = f"consumer {work_queue.CONSUMER} of {work_queue.STREAM}"
    try:
        found = await api.call(f"CONSUMER.INFO.{work_queue.STREAM}.{work_queue.CONSUMER}")
    except ApiError as error:
        if error.err_code not in (ErrCode.CONSUMER_NOT_FOUND, ErrCode.STREAM_NOT_FOUND):
            raise
        missing.append(consumer)
    else:
        differences += _differences(consumer, consumer_of(options), found["config"])
    return missing, differences


async def _lanes(api: Api) -> tuple[list[Difference], list[Fill]]:
    lossy: list[Difference] = []
    lanes: list[Fill] = []
    for name in await api.stream_names(LANE_SUBJECTS):
        info = await api.stream_info(name)
        if info is not None and not info["config"].get("sealed"):
            lossy += _differences(f"stream {name}", _LOSSLESS, info["config"])
            lanes.append(Fill(name, info["state"]["bytes"], info["config"]["max_bytes"]))
    return lossy, lanes


def _differences(where: str, expected: Mapping[str, Any], found: Mapping[str, Any]) -> Iterable[Difference]:
    for setting, value in expected.items():
        # The server leaves out what is false or nothing.
        if (found.get(setting) or None) != (value or None):
            yield Difference(where, setting, value, found.get(setting))


async def _clock(api: Api, clock: Clock) -> ClockReading | None:
    """Compare clocks by the time that stands in an answer, which was given between question and arrival."""
    readings = []
    for _ in range(_ASKED):
        asked_ns, begun_ns = clock.wall_ns(), clock.monotonic_ns()
        info = await api.stream_info(work_queue.STREAM)
        took_ns = clock.monotonic_ns() - begun_ns
        if info is not None and "ts" in info:
            readings.append(ClockReading(time_ns(info["ts"]) - asked_ns - took_ns // 2, took_ns // 2))
    return min(readings, key=lambda reading: reading.error_ns, default=None)

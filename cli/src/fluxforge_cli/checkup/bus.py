"""Whether the bus answers, keeps what it acknowledges, is set up as it should be, and agrees with us on the time."""

from collections.abc import Iterator
from typing import Final

from fluxforge.adapters.jetstream.inspection import ClockReading, Difference, Fill, Inspection, inspect
from fluxforge.domain.errors import BusUnavailableError, FluxForgeError
from fluxforge.ports.clock import Clock
from fluxforge.runtime.settings import Settings
from fluxforge_cli.bus import bus_options
from fluxforge_cli.findings import Finding, State

_VERSION_MIN: Final = (2, 11)
_FULL: Final = 0.8
_OFFSET_NS_MAX: Final = 500_000_000
_OFFSET_NS_CRITICAL: Final = 10_000_000_000
_NS: Final = 1_000_000_000
_REFUSED: Final = "check nats.user and nats.password, or nats.credentials_file, and what that user may do"
_PROVISION: Final = "run `fluxforge provision`; repeating it changes nothing"


async def check_bus(settings: Settings, clock: Clock) -> list[Finding]:
    """Look at the bus of a configuration."""
    try:
        found = await inspect(bus_options(settings, "doctor"), clock, name="fluxforge-doctor")
    except BusUnavailableError as error:
        return [
            Finding("bus", State.CRITICAL, str(error), "start the server; check nats.servers, the network and its TLS")
        ]
    except FluxForgeError as error:
        return [Finding("bus", State.CRITICAL, str(error), _REFUSED)]
    return judge_bus(found, is_unsafe_accepted=settings.nats.unsafe_durability)


def judge_bus(found: Inspection, *, is_unsafe_accepted: bool) -> list[Finding]:
    """Return what an inspection means. Pure."""
    return [
        Finding("bus", State.OK, f"reached at {found.server}"),
        _version(found.version),
        _durability(found.syncs_always, is_unsafe_accepted=is_unsafe_accepted),
        *_provisioned(found),
        *_lanes(found),
        _clock(found.clock),
    ]


def _version(version: str) -> Finding:
    numbers = tuple(int(part) for part in version.partition("-")[0].split(".")[:2] if part.isdigit())
    if numbers >= _VERSION_MIN:
        return Finding("bus version", State.OK, f"nats-server {version}")
    least = ".".join(map(str, _VERSION_MIN))
    remedy = f"upgrade nats-server to {least} or later"
    return Finding("bus version", State.DEGRADED, f"nats-server {version or 'of no known version'}", remedy)


def _durability(syncs_always: bool | None, *, is_unsafe_accepted: bool) -> Finding:
    name = "bus durability"
    if syncs_always:
        return Finding(name, State.OK, "every write is synced before it is acknowledged")
    if syncs_always is None:
        remedy = "open the server's monitoring port 8222 to this machine, or look for `sync_interval: always` yourself"
        return Finding(name, State.DEGRADED, "not known: the server's monitoring does not answer", remedy)
    remedy = "set `sync_interval: always` in the jetstream block of the server's configuration and start it again"
    says = "acknowledges before it syncs: a power cut loses what it acknowledged"
    if is_unsafe_accepted:
        return Finding(name, State.DEGRADED, f"{says}; nats.unsafe_durability accepts that", remedy)
    return Finding(name, State.CRITICAL, says, remedy)


def _provisioned(found: Inspection) -> Iterator[Finding]:
    for name in found.missing:
        yield Finding(name, State.CRITICAL, "is not there", _PROVISION)
    for one in found.differences:
        remedy = f"{_PROVISION}; where it comes back, somebody else manages the streams or the configurations differ"
        yield Finding(one.where, State.DEGRADED, _differs(one), remedy)
    if not (found.missing or found.differences):
        yield Finding("bus streams", State.OK, "buckets, streams and consumer are as provisioned")


def _lanes(found: Inspection) -> Iterator[Finding]:
    for one in found.lossy:
        says = f"{_differs(one)}: it may lose what it acknowledged"
        yield Finding(
            one.where, State.CRITICAL, says, "set it back with `nats stream edit`; the segmenter creates it right"
        )
    full = [fill for fill in found.lanes if fill.size_bytes > _FULL * fill.size_bytes_max > 0]
    for fill in full:
        remedy = (
            "see why the segmenter does not seal (`fluxforge health`); raise nats.lane_max_bytes for streams to come"
        )
        yield Finding(f"stream {fill.stream}", State.DEGRADED, _filled(fill), remedy)
    if found.lanes and not (found.lossy or full):
        yield Finding(
            "lane streams", State.OK, f"{len(found.lanes)}, the fullest: {_filled(max(found.lanes, key=_share))}"
        )


def _clock(reading: ClockReading | None) -> Finding:
    name = "clock"
    if reading is None:
        return Finding(name, State.DEGRADED, "not compared: the bus has no stream to tell its time", _PROVISION)
    certain_ns = max(0, abs(reading.offset_ns) - reading.error_ns)
    says = f"{abs(reading.offset_ns) / _NS:.3f} s {'behind' if reading.offset_ns > 0 else 'ahead of'} the bus'"
    says += f", give or take {reading.error_ns / _NS:.3f} s"
    if certain_ns <= _OFFSET_NS_MAX:
        return Finding(name, State.OK, says)
    state = State.CRITICAL if certain_ns > _OFFSET_NS_CRITICAL else State.DEGRADED
    return Finding(
        name, state, says, "run chrony or another NTP client on both machines: records are stamped by this clock"
    )


def _differs(one: Difference) -> str:
    return f"{one.setting} is {one.found!r}, expected {one.expected!r}"


def _filled(fill: Fill) -> str:
    return f"{fill.size_bytes / 1e6:,.0f} of {fill.size_bytes_max / 1e6:,.0f} MB"


def _share(fill: Fill) -> float:
    return fill.size_bytes / fill.size_bytes_max if fill.size_bytes_max > 0 else 0.0

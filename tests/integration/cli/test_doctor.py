"""`fluxforge doctor` on a real server, with one fault of each kind that can be planted."""

import contextlib
import resource
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from fluxforge.adapters.embedded_nats import EmbeddedNats
from fluxforge.adapters.jetstream import BusOptions, connect
from fluxforge.adapters.jetstream.api import Api
from fluxforge.adapters.jetstream.connection import Connection
from fluxforge.adapters.jetstream.inspection import inspect
from fluxforge.adapters.jetstream.provision import provision
from fluxforge.adapters.memory.clock import ManualClock
from fluxforge.adapters.system_clock import SystemClock
from fluxforge.domain.lane import Lane
from fluxforge.runtime.settings import Settings
from tests.integration.cli.command import run
from tests.servers import running_nats

pytestmark = pytest.mark.timeout(300)

LANE = Lane("ccxt", "binance", "0of1")
LANE_STREAM = LANE.stream(1)
Answer = dict[str, dict[str, Any]]


def options_of(server: EmbeddedNats) -> BusOptions:
    options = BusOptions.from_settings(Settings(nats={"servers": [server.url]}).nats)
    return replace(options, monitor_port=int(server.monitor_url.rpartition(":")[2]))


@contextlib.asynccontextmanager
async def installed(tmp_path: Path, *, sync_always: bool = True) -> AsyncIterator[BusOptions]:
    """Run a bus as `fluxforge up` does, provisioned and with the stream of one lane."""
    async with running_nats(tmp_path, sync_always=sync_always) as server:
        options = options_of(server)
        await provision(options)
        bus = await connect(replace(options, unsafe_durability=True), name="test")
        await bus.streams.create(LANE, 1)
        await bus.close()
        yield options


@contextlib.asynccontextmanager
async def api(options: BusOptions) -> AsyncIterator[Api]:
    connection = await Connection.open(options, "test")
    try:
        yield Api(connection)
    finally:
        await connection.close()


async def changed(options: BusOptions, stream: str, **settings: object) -> None:
    """Plant: somebody set a stream otherwise."""
    async with api(options) as calls:
        info = await calls.stream_info(stream)
        assert info is not None
        await calls.call(f"STREAM.UPDATE.{stream}", {**info["config"], **settings})


async def doctor(tmp_path: Path, *, data: str = ".", **variables: str) -> tuple[int, Answer]:
    """Return the exit code and what is not well, by name, on a disk of which nobody knows how full it is."""
    code, output = await run("doctor", "--data", data, "--json", cwd=tmp_path, **variables)
    said = orjson.loads(output)
    assert said["state"] == ("ok", "degraded", "critical")[code]
    assert all(one["remedy"] for one in said["findings"] if not one["healthy"])
    odd = {one["name"]: one for one in said["findings"] if not one["healthy"]}
    return code, {name: one for name, one in odd.items() if not name.startswith("disk of ")}


async def test_an_installation_that_is_fit_needs_nothing(tmp_path: Path) -> None:
    async with installed(tmp_path):
        _, odd = await doctor(tmp_path)
        assert odd == {}
        _, output = await run("doctor", "--data", tmp_path, cwd=tmp_path)
    for name in ("bus durability", "bus streams", "lane streams", "clock", "storage of datasets", "compaction"):
        assert f"ok       {name}: " in output, output


async def test_no_bus_is_critical_and_the_rest_is_looked_at_all_the_same(tmp_path: Path) -> None:
    code, output = await run("doctor", "--data", tmp_path, cwd=tmp_path)
    assert (code, "no embedded server runs on" in output, "ok       storage of segments" in output) == (2, True, True)
    code, odd = await doctor(tmp_path, FLUXFORGE__NATS__SERVERS='["nats://127.0.0.1:1"]')
    assert (code, list(odd)) == (2, ["bus"])


async def test_a_bus_that_acknowledges_before_it_syncs_is_critical(tmp_path: Path) -> None:
    async with installed(tmp_path, sync_always=False):
        code, odd = await doctor(tmp_path)
    assert (code, list(odd)) == (2, ["bus durability"])
    assert "sync_interval: always" in odd["bus durability"]["remedy"]


async def test_a_bus_whose_monitoring_is_closed_is_not_said_to_be_durable(tmp_path: Path) -> None:
    async with installed(tmp_path) as options:
        found = await inspect(replace(options, monitor_port=1), SystemClock(), name="test")
    assert found.syncs_always is None


async def test_what_was_never_provisioned_or_is_gone_is_critical(tmp_path: Path) -> None:
    async with installed(tmp_path) as options:
        async with api(options) as calls:
            await calls.call("STREAM.DELETE.DEAD")
            await calls.call("CONSUMER.DELETE.SEGMENTS.etl")
        code, odd = await doctor(tmp_path)
    assert (code, sorted(odd)) == (2, ["consumer etl of SEGMENTS", "stream DEAD"])


async def test_what_was_set_otherwise_since_is_named_with_both_values(tmp_path: Path) -> None:
    async with installed(tmp_path) as options:
        await changed(options, "PARTS", max_bytes=1_000_000)
        code, odd = await doctor(tmp_path)
        assert (code, list(odd)) == (1, ["stream PARTS"])
        assert odd["stream PARTS"]["says"] == "max_bytes is 1000000, expected 256000000"
        await provision(options)
        assert (await doctor(tmp_path))[1] == {}, "the remedy helps"


async def test_a_lane_whose_stream_would_drop_what_it_holds_is_critical(tmp_path: Path) -> None:
    async with installed(tmp_path) as options:
        await changed(options, LANE_STREAM, discard="old")
        code, odd = await doctor(tmp_path)
    assert (code, list(odd)) == (2, [f"stream {LANE_STREAM}"])
    assert "discard is 'old', expected 'new'" in odd[f"stream {LANE_STREAM}"]["says"]


async def test_a_lane_whose_stream_is_nearly_full_is_named(tmp_path: Path) -> None:
    async with installed(tmp_path) as options:
        await changed(options, LANE_STREAM, max_bytes=100_000)
        async with api(options) as calls:
            await calls.store(LANE.subject(1), b"x" * 90_000, {})
        code, odd = await doctor(tmp_path)
    assert (code, list(odd)) == (1, [f"stream {LANE_STREAM}"])


async def test_a_clock_that_is_wrong_is_found_by_the_time_of_the_bus(tmp_path: Path) -> None:
    now_ns = SystemClock().wall_ns()
    async with installed(tmp_path) as options:
        wrong = await inspect(options, ManualClock(now_ns - 3_600 * 10**9), name="test")
        right = await inspect(options, SystemClock(), name="test")
    assert wrong.clock is not None
    assert right.clock is not None
    assert wrong.clock.offset_ns == pytest.approx(3_600 * 10**9, abs=60 * 10**9)
    assert abs(right.clock.offset_ns) <= right.clock.error_ns + 1_000, "to the microsecond that the answer tells"


async def test_a_place_that_cannot_be_written_is_critical(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, odd = await doctor(tmp_path, data="file/data")
    assert (code, sorted(odd)) == (2, ["bus", "storage of datasets", "storage of scratch", "storage of segments"])


async def test_too_few_open_files_are_named(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with installed(tmp_path):
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))  # the command inherits it
        try:
            code, odd = await doctor(tmp_path)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (code, list(odd)) == (1, ["open files"])


async def test_a_configuration_that_is_wrong_ends_with_2_and_its_place(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("natz: {}\n")
    code, output = await run("doctor", "--config", "config.yaml", cwd=tmp_path)
    assert (code, "natz" in output, "Traceback" in output) == (2, True, False)

"""The connection: what is refused at the start, what ends it for good, and what must not outlive a disconnect."""

import asyncio
import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from fluxforge.adapters.jetstream import BusOptions, connect
from fluxforge.adapters.jetstream.api import Api
from fluxforge.adapters.jetstream.connection import Connection
from fluxforge.adapters.jetstream.provision import provision
from fluxforge.domain.errors import (
    BlockTooLargeError,
    BusNotDurableError,
    BusUnavailableError,
    ConfigurationError,
    FatalError,
)
from fluxforge.domain.lane_state import LaneState
from tests.contract.bus_world import LANE, block, eventually, publish_all, read_up_to
from tests.fault_proxy import fault_proxy
from tests.servers import MAX_PAYLOAD, running_nats


async def test_a_bus_that_is_not_provisioned_is_refused_with_the_remedy(nats_server):
    with pytest.raises(
        ConfigurationError, match=r"lacks KV_lanes, KV_leases, SEGMENTS, PARTS, DEAD.*fluxforge provision"
    ):
        await connect(BusOptions(servers=(nats_server.url,)), name="test")


async def test_provisioning_again_changes_nothing_and_brings_limits_up_to_date(options, bus):
    await bus.states.create(LANE)
    await provision(dataclasses.replace(options, lease_ttl_s=33))
    assert await bus.states.lanes() == [LANE]
    info = await bus._api.stream_info("KV_leases")
    assert info["config"]["max_age"] == 33 * 10**9


async def test_a_server_that_acknowledges_before_it_syncs_is_refused_unless_told_otherwise(tmp_path, monkeypatch):
    monkeypatch.setattr("fluxforge.adapters.jetstream.durability._ANSWER_S", 60.0)
    async with running_nats(tmp_path, sync_always=False) as server:
        options = BusOptions(servers=(server.url,), monitor_port=int(server.monitor_url.rpartition(":")[2]))
        await provision(options)
        with pytest.raises(BusNotDurableError, match="sync_interval: always"):
            await connect(options, name="test")
        await (await connect(dataclasses.replace(options, unsafe_durability=True), name="test")).close()
        await (await connect(dataclasses.replace(options, monitor_port=1), name="test")).close()


async def test_no_server_is_unavailable_and_says_why(monkeypatch):
    monkeypatch.setattr("fluxforge.adapters.jetstream.connection._CONNECT_S", 2.0)
    with pytest.raises(BusUnavailableError, match=r"nats://127\.0\.0\.1:9.*(?i:refused|connect)"):
        await connect(BusOptions(servers=("nats://127.0.0.1:9",)), name="test")


async def test_a_payload_limit_above_the_servers_is_refused(options):
    with pytest.raises(ConfigurationError, match=f"the server allows {MAX_PAYLOAD}"):
        await connect(dataclasses.replace(options, max_payload=MAX_PAYLOAD + 1), name="test")


async def test_a_block_over_the_limit_is_refused_and_the_connection_lives(bus):
    publisher = await bus.publisher(LANE, 1, after=None, window_blocks=4)
    for size_bytes in (MAX_PAYLOAD, MAX_PAYLOAD - 100):
        with pytest.raises(BlockTooLargeError):
            await publisher.publish(block(1, payload=b"x" * size_bytes))
    assert not publisher.unacked
    await publish_all(publisher, [block(1, payload=b"x" * (MAX_PAYLOAD - 1000))])


async def test_nothing_handed_over_before_a_disconnect_is_sent_after_it(nats_server, bus):
    client = bus._connection.client
    os.kill(nats_server.pid, signal.SIGKILL)
    await client._send_command(b"PUB late 1\r\nx\r\n")  # in the client's buffer when the connection breaks
    await eventually(lambda: not (bus.connected or client._pending))
    with pytest.raises(BusUnavailableError, match="not connected"):
        await bus.streams.purge(LANE, 1, below_seq=2)
    await nats_server.start()
    await eventually(lambda: bus.connected)


async def test_a_request_under_way_fails_when_the_connection_breaks_not_at_its_deadline(
    nats_server, options, monkeypatch
):
    monkeypatch.setattr("fluxforge.adapters.jetstream.connection.REQUEST_S", 3600.0)
    async with fault_proxy(nats_server.url) as proxy:
        bus = await connect(dataclasses.replace(options, servers=(proxy.url,)), name="test")
        proxy.hold_answers()
        asking = asyncio.ensure_future(bus.streams.info(LANE, 1))
        await eventually(lambda: bool(bus._connection.client._resp_map))
        proxy.cut()
        async with asyncio.timeout(60):
            with pytest.raises(BusUnavailableError):
                await asking
        proxy.release_answers()
        await bus.close()


async def test_a_state_update_whose_answer_was_lost_counts_as_written_once(nats_server, options, bus):
    await bus.states.create(LANE)
    revision = (await bus.states.get(LANE)).revision
    async with fault_proxy(nats_server.url) as proxy:
        faulty = await connect(dataclasses.replace(options, servers=(proxy.url,)), name="test")
        state = LaneState(epoch=1, owner="7-ab")
        proxy.hold_answers()
        updating = asyncio.ensure_future(faulty.states.update(LANE, state, revision))
        async with asyncio.timeout(60):
            while (await bus.states.get(LANE)).state != state:  # noqa: ASYNC110 - a server has no event for us
                await asyncio.sleep(0.01)
        proxy.cut()
        proxy.release_answers()
        with pytest.raises(BusUnavailableError):  # the read that would settle it finds no connection either
            await updating
        await eventually(lambda: faulty.connected)
        written = await faulty.states.update(LANE, state, revision)
        assert written == (await bus.states.get(LANE)).revision == revision + 1
        await faulty.close()


async def test_a_peer_that_takes_nothing_more_does_not_hold_up_the_reconnect(nats_server, options, bus, monkeypatch):
    monkeypatch.setattr("fluxforge.adapters.jetstream.connection._PING_S", 1)
    async with fault_proxy(nats_server.url) as proxy:
        faulty = await connect(dataclasses.replace(options, servers=(proxy.url,)), name="test")
        publisher = await faulty.publisher(LANE, 1, after=None, window_blocks=64)
        await publish_all(publisher, [block(1)])
        proxy.go_deaf()
        for n in range(2, 34):
            await publisher.publish(block(n, payload=b"x" * 1_000_000))  # more than the sockets between us hold
        await eventually(lambda: not faulty.connected)
        proxy.hear_again()
        assert await publisher.settle(timeout_s=60)
        assert (await bus.streams.last(LANE, 1)).stream_seq == 33
        await publisher.close()
        await faulty.close()


async def test_a_dead_read_loop_is_noticed(bus):
    bus._connection.client._reading_task.cancel()
    with pytest.raises(FatalError, match="read loop died"):
        await asyncio.wait_for(bus.failed(), 60)
    with pytest.raises(FatalError, match="read loop died"):
        await bus.streams.info(LANE, 1)


async def test_a_connection_the_server_ends_for_good_is_noticed(bus):
    await bus._connection.client._send_command(b"NONSENSE\r\n")
    await bus._connection.client._flush_pending()
    with pytest.raises(FatalError, match=r"closed the connection for good.*(?i:protocol)"):
        await asyncio.wait_for(bus.failed(), 60)


@pytest.mark.usefixtures("bus")  # which made the stream
async def test_closing_waits_for_no_fetch_and_no_claim_that_is_under_way(options, monkeypatch):
    monkeypatch.setattr("fluxforge.adapters.jetstream.connection._CLOSE_S", 3600.0)
    closing = await connect(options, name="test")
    reader, queue = closing.reader(LANE, 1, from_seq=1), await closing.work()
    waiting = [
        asyncio.ensure_future(reader.fetch(blocks_max=1, wait_s=0.2)),
        asyncio.ensure_future(queue.claim(wait_s=0.2)),
    ]
    await asyncio.gather(*waiting)
    async with asyncio.timeout(25):  # the server holds the fetch open for longer
        await reader.close()
        await queue.close()
        await closing.close()
        await closing.close()
    assert not closing.connected


@contextmanager
def custom_server(tmp_path, config):
    file = tmp_path / "custom.conf"
    file.write_text(
        f'listen: "127.0.0.1:-1"\nports_file_dir: "{tmp_path}"\nmax_payload: {MAX_PAYLOAD}\n'
        f'jetstream {{ store_dir: "{tmp_path}", sync_interval: always }}\n{config}\n'
    )
    process = subprocess.Popen([Path(sys.executable).parent / "nats-server", "-c", file], stderr=subprocess.DEVNULL)
    ports = tmp_path / f"nats-server_{process.pid}.ports"
    deadline = time.monotonic() + 60
    try:
        while not (ports.exists() and ports.read_text().strip().endswith("}")):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield ports.read_text().split('"')[3]
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def guarded_server(tmp_path):
    """A server with one user who may do next to nothing."""
    users = 'authorization { users: [{user: u, password: p, permissions: {publish: "nothing"}}] }'
    with custom_server(tmp_path, users) as url:
        yield url


@pytest.fixture
def later_server(tmp_path):
    """A server that names deliveries the way later versions will."""
    with custom_server(tmp_path, "feature_flags { js_ack_fc_v2: true }") as url:
        yield url


async def test_deliveries_named_the_later_way_are_read_and_acknowledged(later_server):
    options = BusOptions(servers=(later_server,), lane_max_bytes=50_000_000)
    await provision(options)
    bus = await connect(options, name="test")
    await bus.streams.create(LANE, 1)
    await publish_all(await bus.publisher(LANE, 1, after=None, window_blocks=4), [block(n) for n in range(1, 6)])
    reader = bus.reader(LANE, 1, from_seq=2)
    assert [each.stream_seq for each in await read_up_to(reader, 5)] == [2, 3, 4, 5]
    queue = await bus.work()
    await bus.events.publish("segments.sealed.x.y", b"one", message_id="1")
    claim = await queue.claim(wait_s=60)
    assert len(claim._message.reply.split(".")) > 9
    assert claim.num_delivered == 1
    await claim.ack()
    assert (await queue.backlog()).num_ack_pending == 0
    await reader.close()
    await queue.close()
    await bus.close()


async def test_a_permission_violation_ends_the_connection_with_its_reason(guarded_server, tmp_path):
    credentials = tmp_path / "credentials"
    credentials.write_text("u:p\n")
    connection = await Connection.open(BusOptions(servers=(guarded_server,), credentials_file=credentials), "test")
    with pytest.raises((FatalError, BusUnavailableError)):
        await Api(connection).stream_info("X")
    with pytest.raises(FatalError, match=r"(?i)permissions violation for publish"):
        await asyncio.wait_for(connection.failed(), 60)
    await connection.close()


async def test_wrong_credentials_are_a_matter_of_configuration(guarded_server, tmp_path):
    credentials = tmp_path / "credentials"
    credentials.write_text("u:wrong")
    with pytest.raises(ConfigurationError, match="refuses the credentials"):
        await connect(BusOptions(servers=(guarded_server,), credentials_file=credentials), name="test")


async def test_a_missing_consumer_is_named_with_the_remedy(bus):
    queue = await bus.work()
    await bus._api.call("CONSUMER.DELETE.SEGMENTS.etl")
    with pytest.raises(ConfigurationError, match="no consumer etl on SEGMENTS: run `fluxforge provision`"):
        await queue.claim(wait_s=60)
    await queue.close()


async def test_a_delivery_that_came_too_late_for_its_claim_is_given_back_at_the_end(bus):
    queue, other = await bus.work(), await bus.work()
    await queue._ask(60.0)
    await bus.events.publish("segments.sealed.x.y", b"one", message_id="1")
    await eventually(lambda: bool(queue._arrived))
    await queue.close()
    claim = await other.claim(wait_s=60)
    assert (claim.payload, claim.num_delivered) == (b"one", 2)
    await other.close()


async def test_a_cancelled_request_is_cancelled_even_when_its_answer_comes_at_that_moment(bus):
    work = await bus.work()
    survivors = 0
    for turn in range(400):
        asking = asyncio.ensure_future(work.backlog())
        await asyncio.sleep(turn % 40 * 25e-6)  # somewhere between sending and the answer
        was_under_way = asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking
            survivors += was_under_way
    await work.close()
    assert survivors == 0


async def test_closing_outlives_whoever_was_cancelled_waiting_for_the_same_socket(options):
    bus = await connect(options, name="test")
    transport = bus._api.connection.client._transport
    waiting = asyncio.ensure_future(transport.wait_closed())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    await bus.close()


async def test_closing_that_is_cancelled_is_cancelled(options, monkeypatch):
    bus = await connect(options, name="test")
    client = bus._api.connection.client

    async def stuck() -> None:
        await asyncio.Event().wait()

    with monkeypatch.context() as patch:
        patch.setattr(client, "close", stuck)
        patch.setattr("fluxforge.adapters.jetstream.connection._CLOSE_S", 60.0)
        closing = asyncio.ensure_future(bus.close())
        done, _ = await asyncio.wait([closing], timeout=0.05)
        assert not done
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
    await client.close()

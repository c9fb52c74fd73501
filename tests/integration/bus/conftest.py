"""A provisioned JetStream and the means to disturb it."""

from collections.abc import AsyncIterator

import pytest

from fluxforge.adapters.embedded_nats import EmbeddedNats
from fluxforge.adapters.jetstream import BusOptions, JetStreamBus, connect
from fluxforge.adapters.jetstream.provision import provision
from tests.contract.bus_world import LANE


@pytest.fixture
async def options(nats_server: EmbeddedNats) -> BusOptions:
    options = BusOptions(
        servers=(nats_server.url,),
        lane_max_bytes=50_000_000,
        monitor_port=int(nats_server.monitor_url.rpartition(":")[2]),
    )
    await provision(options)
    return options


@pytest.fixture
async def bus(options: BusOptions) -> AsyncIterator[JetStreamBus]:
    bus = await connect(options, name="test")
    await bus.streams.create(LANE, 1)
    yield bus
    await bus.close()

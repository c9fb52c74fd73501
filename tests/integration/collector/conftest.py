from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from fluxforge.adapters.embedded_nats import EmbeddedNats
from tests.integration.collector.rig import Rig, running_rig
from tests.ports import kept_port


@pytest.fixture
async def rig(nats_server: EmbeddedNats, tmp_path: Path) -> AsyncIterator[Rig]:
    async with running_rig(nats_server, tmp_path) as made:
        yield made


@pytest.fixture
def port() -> Iterator[int]:
    with kept_port() as kept:
        yield kept

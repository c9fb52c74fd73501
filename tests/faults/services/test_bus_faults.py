"""The bus turns on its clients: each service ends with 1 and one line that says why, or heals; nothing is lost."""

import asyncio
import os
import signal
from pathlib import Path

import pytest
import yaml

from tests.fault_proxy import fault_proxy
from tests.faults.plant import numbered, running_plant
from tests.faults.services.guarded import error_of, exit_of, guarded_plant, is_run, settled, start_again, start_all
from tests.faults.table import FaultTable

pytestmark = pytest.mark.timeout(240)


REVOKED = {
    "password": ({"password": "another"}, ("authorization", "authentication")),
    "permission": (
        {"permissions": 'publish: { deny: ["$JS.API.>", "md.>", "$JS.ACK.>"] }'},
        ("permissions violation",),
    ),
}


@pytest.mark.parametrize("what", REVOKED)
async def test_a_service_whose_rights_are_taken_ends_and_goes_on_once_they_are_given_back(
    tmp_path: Path,
    table: FaultTable,
    is_full: bool,  # noqa: FBT001 - a fixture
    what: str,
) -> None:
    is_run(what, bounded="permission", is_full=is_full)
    rights, reasons = REVOKED[what]
    async with guarded_plant(tmp_path, numbered(tmp_path, "shaken")) as (plant, guard):
        services = await start_all(plant)
        guard.reload(**rights)
        for service in services:
            code, _ = await exit_of(service)
            assert code == 1, service.tail()
            assert any(reason in error_of(service).lower() for reason in reasons), service.tail()
        guard.reload()
        await start_again(services)
        await settled(plant, table, f"{what} revoked while all three run")


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"-ERR 'Maximum Connections Exceeded'\r\n", "closed the connection for good"),
        (b"INFO {broken\r\n", "read loop died"),
    ],
    ids=["an error that closes for good", "a read loop that dies"],
)
@pytest.mark.usefixtures("full_run")
async def test_a_connection_beyond_help_ends_the_service(
    tmp_path: Path,
    table: FaultTable,
    is_full: bool,  # noqa: FBT001 - a fixture
    said: bytes,
    reason: str,
) -> None:
    is_run(reason, bounded="read loop died", is_full=is_full)
    async with running_plant(tmp_path, numbered(tmp_path, "shaken")) as plant, fault_proxy(plant.server.url) as proxy:
        plant.tree["nats"]["servers"] = [proxy.url]
        plant.config.write_text(yaml.safe_dump(plant.tree))
        services = await start_all(plant)
        proxy.say(said)
        for service in services:
            code, _ = await exit_of(service)
            assert code == 1, service.tail()
            assert reason in error_of(service)
        await start_again(services)
        await settled(plant, table, f"connection of all three: {reason}")


@pytest.mark.usefixtures("full_run")
async def test_a_stopped_server_is_noticed_and_waited_for(tmp_path: Path, table: FaultTable) -> None:
    async with running_plant(tmp_path, numbered(tmp_path, "shaken")) as plant:
        services = await start_all(plant)
        os.kill(plant.server.pid, signal.SIGSTOP)
        try:
            async with asyncio.timeout(15):
                for service in services:
                    await service.until_logged((b'"bus.disconnected"',))
        finally:
            os.kill(plant.server.pid, signal.SIGCONT)
        for service in services:
            assert await service.until_logged((b'"bus.reconnected"',)), service.tail()
        assert [service.process.returncode for service in services if service.process] == [None] * 3
        await settled(plant, table, "nats-server SIGSTOP and SIGCONT")

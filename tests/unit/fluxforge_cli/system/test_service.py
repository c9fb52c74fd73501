import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from fluxforge.domain.status import EtlStatus, status_to_json
from fluxforge_cli.system.plan import Role, ServicePlan
from fluxforge_cli.system.service import Service, ServiceRefusedError

STATUS = EtlStatus(at_ns=1, ready=True, backlog=0, segments=2, records=3, quarantined=0, rows={"trades": 3})


def service(tmp_path: Path, body: str, said: list[str]) -> Service:
    (tmp_path / "some_service.py").write_text(
        f"import os, sys, signal\nopen({str(tmp_path / 'up')!r}, 'w').close()\n{body}\n"
    )
    plan = ServicePlan(
        Role.ETL, "some", "some_service", (), {"PYTHONPATH": str(tmp_path), "STATUS": status_to_json(STATUS).decode()}
    )
    return Service(plan, tmp_path / "log", said.append)


async def until_said(said: list[str], count: int) -> None:
    await until(lambda: len(said) >= count)


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not reached():  # noqa: ASYNC110 - another process has no event
            await asyncio.sleep(0.01)


async def test_a_service_that_ends_by_itself_is_started_again_and_every_life_is_kept(tmp_path: Path) -> None:
    said: list[str] = []
    one = service(tmp_path, "sys.stderr.write('no bus'); sys.exit(1)", said)
    async with asyncio.TaskGroup() as group:
        group.create_task(one.keep())
        await until_said(said, 2)
        await one.drain(deadline_s=60)
    assert said[0].startswith("some ended with 1: no bus; starting it again in ")
    assert one.restarts >= 1
    assert one.final_statuses() == []
    assert len(one.unexplained()) == len(one.lives) >= 2


async def test_a_service_that_refuses_its_configuration_is_not_started_again(tmp_path: Path) -> None:
    said: list[str] = []
    one = service(tmp_path, """sys.stderr.write('{"level":"error","error":"unknown market"}'); sys.exit(2)""", said)
    with pytest.raises(ServiceRefusedError, match=r"^some: unknown market$"):
        await one.keep()
    assert len(one.lives) == 1
    assert said == []


async def test_a_drained_service_says_its_last_word(tmp_path: Path) -> None:
    said: list[str] = []
    one = service(tmp_path, "sys.stdin.read(); print(os.environ['STATUS'])", said)
    async with asyncio.TaskGroup() as group:
        group.create_task(one.keep())
        await until((tmp_path / "up").exists)
        assert await one.drain(deadline_s=60)
    assert one.final_statuses() == [STATUS]
    assert (one.unexplained(), one.restarts, said) == ([], 0, [])


async def test_a_service_that_does_not_drain_is_killed_and_named(tmp_path: Path) -> None:
    said: list[str] = []
    one = service(tmp_path, "signal.pause()", said)
    async with asyncio.TaskGroup() as group:
        group.create_task(one.keep())
        await until((tmp_path / "up").exists)
        assert not await one.drain(deadline_s=0.3)
    assert one.lives[0].code == -9
    assert said[0] == "some did not end within 0 s of its drain: killed"

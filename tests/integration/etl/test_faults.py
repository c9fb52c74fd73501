"""Workers that overstay their claims, end in the middle of one, or meet what a person put right: real processes."""

import asyncio
import signal
from pathlib import Path

import orjson
import pytest

from fluxforge.adapters.embedded_nats import EmbeddedNats
from fluxforge.adapters.jetstream import provision
from tests.integration.cli.command import run
from tests.integration.etl.processes import announce, log_of, provisioned, start_worker, until
from tests.integration.etl.test_service import placed, rows, seal, settled
from tests.unit.fluxforge_etl_worker.samples import LANE

LETHAL = "tests.integration.etl.lethal"
ACK_WAIT_S = 1


def held_up(data: Path, segment: str) -> Path:
    """Have whoever is about to commit a segment wait until the file is gone."""
    late = data / "late" / segment
    late.parent.mkdir(parents=True, exist_ok=True)
    late.touch()
    return late


def names(data: Path) -> list[str]:
    """Return all files but the raw ones, by what they are."""
    folders = [data / name for name in ("processed", "commits", ".tmp")]
    return sorted(str(path.relative_to(data)) for folder in folders for path in folder.rglob("*") if path.is_file())


async def test_of_two_workers_on_one_segment_the_first_commit_wins_and_the_other_leaves_nothing(
    nats_server: EmbeddedNats, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The claim of the slow one ends before its first sign of life, so that the same segment goes to another."""
    monkeypatch.setattr(provision, "_ACK_WAIT_S", ACK_WAIT_S)
    data = tmp_path / "data"
    async with provisioned(nats_server) as bus:
        manifest = seal(data, 1)
        late = held_up(data, manifest.name)
        await announce(bus, manifest)
        slow = await start_worker(nats_server, data, module=LETHAL)
        await until((data / "working").exists)
        slow.send_signal(signal.SIGSTOP)
        assert placed(data) == 0
        quick = await start_worker(nats_server, data)
        await until(lambda: placed(data) == 1)
        made = names(data)
        slow.send_signal(signal.SIGCONT)
        late.unlink()
        await until(
            lambda: [line["forged"] for line in log_of(data) if line["event"] == "segment.committed"] == [True, False]
        )
        await settled(bus)
        for worker in (slow, quick):
            worker.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(worker.wait(), 30) == 0
    assert rows(data) == 50
    assert names(data) == [name for name in made if not name.startswith(".tmp/")]
    assert len(names(data)) == 3  # one part, its commit, the mark that it is placed


async def test_a_worker_that_cannot_finish_in_time_gives_its_claim_back_and_another_takes_it_at_once(
    nats_server: EmbeddedNats, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    async with provisioned(nats_server) as bus:
        manifest = seal(data, 1)
        late = held_up(data, manifest.name)
        await announce(bus, manifest)
        slow = await start_worker(nats_server, data, module=LETHAL)
        await until((data / "working").exists)
        loop = asyncio.get_running_loop()
        asked_s = loop.time()
        slow.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(slow.wait(), 30) == 0
        assert loop.time() - asked_s < 10
        late.unlink()
        ended_s = loop.time()
        quick = await start_worker(nats_server, data)
        await until(lambda: placed(data) == 1)
        assert loop.time() - ended_s < 20  # well before the claim's deadline of 30 s
        await settled(bus)
        quick.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(quick.wait(), 30) == 0
    assert rows(data) == 50
    assert not [name for name in names(data) if name.startswith(".tmp/")]
    assert "drain.cut_short" in [line["event"] for line in log_of(data)]


async def test_what_a_person_put_right_is_announced_again_and_becomes_rows(
    nats_server: EmbeddedNats, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    async with provisioned(nats_server) as bus:
        manifest = seal(data, 1)
        path = next((data / "raw").rglob("*.ndjson"))
        whole = path.read_bytes()
        path.write_bytes(whole.replace(b'"last":3.0', b'"last":4.0'))
        await announce(bus, manifest)
        worker = await start_worker(nats_server, data)
        await until((data / "dead" / str(LANE) / f"{manifest.name}.json").exists)
        await settled(bus)
        path.write_bytes(whole)
        servers = {"FLUXFORGE__NATS__SERVERS": orjson.dumps([nats_server.url]).decode()}
        code, output = await run("dead", "retry", LANE, manifest.name, "--data", data, cwd=tmp_path, **servers)
        assert (code, output) == (0, f"{LANE} {manifest.name}: announced again")
        await until(lambda: placed(data) == 1)
        await settled(bus)
        worker.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(worker.wait(), 30) == 0
    assert rows(data) == 50
    assert list((data / "dead").rglob("*.json")) == []

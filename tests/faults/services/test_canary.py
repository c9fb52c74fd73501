"""Canary secrets: known to a system that is made to fail, and then looked for wherever anything is written."""

import asyncio
import secrets
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import nats
import pytest

from tests.faults.plant import Plant, Service
from tests.faults.services.guarded import START_S, exit_of, guarded_plant, lines, probe
from tests.system import simulator

pytestmark = pytest.mark.timeout(240)

MARKET = "BTC/USDT"


class Canaries:
    """One for each way a secret may be given."""

    def __init__(self) -> None:
        self.key, self.secret, self.other, self.password, self.wrong = (
            f"canary{name}{secrets.token_hex(8)}" for name in ("key", "secret", "other", "password", "wrong")
        )

    @property
    def all(self) -> tuple[bytes, ...]:
        return tuple(text.encode() for text in (self.key, self.secret, self.other, self.password, self.wrong))

    def found(self, text: bytes) -> list[bytes]:
        return [canary for canary in self.all if canary in text]


async def test_no_secret_stands_in_any_log_page_file_message_or_process_list(tmp_path: Path) -> None:
    canaries = Canaries()
    keeper = tmp_path / "secrets"
    keeper.mkdir()
    keeper.joinpath("secret").write_text(canaries.secret)
    keeper.joinpath("wrong").write_text(f"service:{canaries.wrong}")
    base = tmp_path / "system"
    base.mkdir()
    hits: list[str] = []

    def look(where: str, text: bytes) -> None:
        hits.extend(f"{where}: {canary.decode()}" for canary in canaries.found(text))

    async with simulator("--exchange", "binance") as (port, exchange):
        exchanges = {
            "binance": {"via": f"127.0.0.1:{port}", "api_key": canaries.key, "channels": {"watchTrades": [MARKET]}},
            "kraken": {"via": f"127.0.0.1:{port}", "channels": {"watchTrades": ["BTC/USD"]}},
        }
        async with guarded_plant(base, exchanges, log_level="DEBUG") as (plant, guard):
            guard.reload(password=canaries.password)
            base.joinpath("service.credentials").write_text(f"service:{canaries.password}")
            assert canaries.found(plant.config.read_bytes()) == [canaries.key.encode()]
            services = await started(plant, keeper, canaries)
            for service in services:
                for page in ("/metrics", "/readyz"):
                    if any(line["event"] == "settings.loaded" for line in lines(service)):
                        look(f"{service.name} {page}", "".join(map(str, await probe(service, page))).encode())
            look("process list", await asyncio.to_thread(process_list))
            exchange.terminate()  # what failed requests say
            assert await services[2].until_logged((b'"connection.lost"',)), services[2].tail()
            wrong = plant.segmenter("wrong", FLUXFORGE__NATS__CREDENTIALS_FILE=str(keeper / "wrong"))
            await wrong.start()
            assert (await exit_of(wrong))[0] == 2
            for output in await outputs(plant, canaries):
                look("output", output)
            for subject, payload in [message async for message in messages(guard.url)]:
                look(f"message on {subject}", payload)
            guard.reload(password="another")
            for service in services:
                assert (await exit_of(service))[0] == 1
            del plant.services["wrong"]
        looked = 0
        for path in files(base):
            look(str(path), path.read_bytes())
            looked += 1
        assert looked > 10
    assert hits == []


async def started(plant: Plant, keeper: Path, canaries: Canaries) -> list[Service]:
    variables = {
        "FLUXFORGE__CCXT__EXCHANGES__BINANCE__API_SECRET_FILE": str(keeper / "secret"),
        "FLUXFORGE__CCXT__EXCHANGES__KRAKEN__API_SECRET": canaries.other,
    }
    services = [
        plant.segmenter(**variables),
        plant.etl(**variables),
        plant.service("fluxforge_collector", "--exchange", "binance", name="collector", **variables),
    ]
    for service in services:
        await service.start()
    for service, word in zip(services, (b'"segment.sealed"', b'"segment.committed"', b'"feed.recovered"'), strict=True):
        assert await service.until_logged((word,), patience_s=START_S), service.tail()
    return services


async def outputs(plant: Plant, canaries: Canaries) -> list[bytes]:
    """Return what commands and services print of configurations that are right, and wrong just where secrets stand."""
    text = plant.config.read_text()
    broken = {
        "right": text,
        "type": text.replace(f"api_key: {canaries.key}", f"api_key: [{canaries.key}]"),
        "key": text.replace("api_key: ", "apikey: "),
        "syntax": text.replace(f"api_key: {canaries.key}", f'api_key: "{canaries.key}'),
        "url": text.replace("nats://", f"nats://service:{canaries.password}@"),
    }
    printed = []
    for name, content in broken.items():
        path = plant.base.parent / "secrets" / f"{name}.yaml"
        await asyncio.to_thread(path.write_text, content)
        for command in (
            (str(Path(sys.executable).parent / "fluxforge"), "config", "show", "--config", str(path)),
            (sys.executable, "-m", "fluxforge_etl_worker", "--config", str(path)),
        ):
            if (name == "right") != ("show" in command):
                continue
            process = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT)
            output, _ = await process.communicate()
            assert process.returncode == (0 if name == "right" else 2), output
            printed.append(output)
    return printed


async def messages(url: str) -> AsyncIterator[tuple[str, bytes]]:
    """Yield every message of every stream, headers included."""
    client = await nats.connect(url, user="harness", password="harness")
    try:
        stream = client.jetstream()
        for info in await stream.streams_info():
            for seq in range(max(1, info.state.first_seq), info.state.last_seq + 1):
                try:
                    message = await stream.get_msg(info.config.name, seq)
                except nats.js.errors.NotFoundError:
                    continue  # purged, or replaced by a newer of its key
                yield message.subject or "", (message.data or b"") + repr(message.headers).encode()
    finally:
        await client.close()


def process_list() -> bytes:
    found = b""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += path.read_bytes()
        except OSError:
            continue  # it has ended
    assert b"fluxforge_segmenter" in found
    return found


def files(base: Path) -> Iterator[Path]:
    """Yield every file of the system but those that are there to hold secrets."""
    holders = {base / "config.yaml", base / "service.credentials", base / "guarded" / "guarded.conf"}
    yield from (path for path in base.rglob("*") if path.is_file() and path not in holders)

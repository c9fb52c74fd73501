"""`fluxforge health` on buses that refuse it, and beside services that are asked by address."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from prometheus_client import CollectorRegistry

from fluxforge.adapters.jetstream import BusOptions
from fluxforge.adapters.jetstream.provision import provision
from fluxforge.runtime.settings import Settings
from fluxforge.runtime.telemetry import serve
from tests.integration.cli.command import run
from tests.servers import running_nats

pytestmark = pytest.mark.timeout(300)


def config_in(folder: Path) -> Path:
    path = folder / "config.yaml"
    path.write_text(
        "ccxt: {exchanges: {binance: {channels: {watchTrades: [BTC/USDT]}}}}\nstorage: {scratch_dir: ./data}\n"
    )
    return path


async def health(folder: Path, *targets: str) -> tuple[int, list[dict[str, Any]]]:
    options = [word for target in targets for word in ("--target", target)]
    code, output = await run("health", "--config", config_in(folder), "--json", *options, cwd=folder)
    services: list[dict[str, Any]] = orjson.loads(output)["services"]
    assert all(one["remedy"] for one in services if not one["healthy"])
    return code, services


@pytest.mark.parametrize(
    ("sync_always", "says"), [(False, "acknowledges before it syncs"), (True, "fluxforge provision")]
)
async def test_a_bus_that_no_service_would_use_is_a_finding_like_any_other(
    tmp_path: Path, *, sync_always: bool, says: str
) -> None:
    async with running_nats(tmp_path / "data", sync_always=sync_always):
        code, (one,) = await health(tmp_path)
    assert (code, one["name"], one["state"]) == (2, "bus", "critical")
    assert says in one["says"]


async def test_a_service_is_asked_though_the_bus_hears_nothing_of_it(tmp_path: Path) -> None:
    is_ready = [True]
    server = await serve("127.0.0.1", 0, CollectorRegistry(), lambda: is_ready[0], lambda: True)
    target = f"127.0.0.1:{server.port}"
    try:
        async with running_nats(tmp_path / "data") as nats:
            await provision(BusOptions.from_settings(Settings(nats={"servers": [nats.url]}).nats))
            code, services = await health(tmp_path, target)
            assert code == 2, "nobody else runs"
            assert [one["name"] for one in services] == [
                "collector ccxt-binance-0of1",
                "segmenter",
                "etl-worker",
                target,
            ]
            assert [one["state"] for one in services] == ["critical"] * 3 + ["ok"]
        is_ready[0] = False
        code, services = await health(tmp_path, target)
        assert [(one["name"], one["state"]) for one in services] == [("bus", "critical"), (target, "degraded")]
    finally:
        await server.close()


async def test_what_is_no_target_is_refused_in_one_line(tmp_path: Path) -> None:
    code, output = await run("health", "--config", config_in(tmp_path), "--target", "https://x", cwd=tmp_path)
    assert (code, "expected HOST:PORT" in output, "Traceback" in output) == (2, True, False)

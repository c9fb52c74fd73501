from pathlib import Path

import pytest

from fluxforge.domain.errors import ConfigurationError
from fluxforge.runtime.settings import Settings
from fluxforge_cli.system.plan import Role, lanes, plan

TREE = {
    "ccxt": {
        "exchanges": {
            "binance": {"shards": 2, "channels": {"watchTrades": ["A/B"]}},
            "kraken": {"channels": {"watchTrades": []}},
            "okx": {"channels": {"watchTicker": {"quote": "USDT"}}},
        }
    },
    "etl": {"workers": 2},
}


def test_every_exchange_with_something_to_capture_has_a_lane_for_each_shard() -> None:
    assert [str(lane) for lane in lanes(Settings(**TREE))] == [
        "ccxt-binance-0of2",
        "ccxt-binance-1of2",
        "ccxt-okx-0of1",
    ]


def test_nothing_to_capture_is_refused_with_what_to_do() -> None:
    with pytest.raises(ConfigurationError, match=r"nothing to capture: name markets under ccxt\.exchanges"):
        lanes(Settings())


def test_the_plan_has_the_segmenter_the_workers_the_collectors_and_the_compactor() -> None:
    services = plan(
        Settings(**TREE), config=Path("c.yaml"), bus_urls=["nats://127.0.0.1:1"], variables={"FLUXFORGE__X": "y"}
    )
    assert [service.name for service in services] == [
        "segmenter",
        "etl-worker-0",
        "etl-worker-1",
        "collector-binance-0of2",
        "collector-binance-1of2",
        "collector-okx-0of1",
        "compactor",
    ]
    last = services[-2]
    assert (last.role, last.module) == (Role.COLLECTOR, "fluxforge_collector")
    assert last.arguments == ("--config", "c.yaml", "--parent-pipe", "--exchange", "okx", "--shard", "0of1")
    assert last.variables["FLUXFORGE__X"] == "y"
    assert last.variables["FLUXFORGE__NATS__SERVERS"] == '["nats://127.0.0.1:1"]'


def test_telemetry_ports_count_up_and_0_stays_0() -> None:
    def ports(port: int) -> list[str]:
        settings = Settings(**TREE, telemetry={"port": port})
        services = plan(settings, config=None, bus_urls=[], variables={})
        return [service.variables["FLUXFORGE__TELEMETRY__PORT"] for service in services]

    assert ports(9100) == ["9100", "9101", "9102", "9103", "9104", "9105", "9106"]
    assert set(ports(0)) == {"0"}


def test_without_compaction_there_is_no_compactor() -> None:
    off = Settings(**TREE, compaction={"enabled": False})
    for settings, compacts in ((off, True), (Settings(**TREE), False)):
        services = plan(settings, config=None, bus_urls=[], variables={}, compacts=compacts)
        assert Role.COMPACTOR not in {service.role for service in services}

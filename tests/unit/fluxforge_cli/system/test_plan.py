from pathlib import Path

import pytest

from fluxforge.domain.errors import ConfigurationError
from fluxforge.runtime.settings import Settings
from fluxforge.runtime.settings.lanes import configured_lanes
from fluxforge_cli.system.plan import Role, plan

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
    assert [str(lane) for lane in configured_lanes(Settings(**TREE))] == [
        "ccxt-binance-0of2",
        "ccxt-binance-1of2",
        "ccxt-okx-0of1",
    ]


def test_two_legs_are_two_collectors_of_every_shard() -> None:
    exchange = {"shards": 2, "legs": 2, "channels": {"watchTrades": ["A/B"]}}
    tree = Settings(ccxt={"exchanges": {"binance": exchange}})
    services = plan(tree, config=None, bus_urls=["nats://127.0.0.1:1"], variables={})
    collectors = [service for service in services if service.role is Role.COLLECTOR]
    assert [service.arguments[-1] for service in collectors] == ["0of2", "0of2b", "1of2", "1of2b"]
    assert len({service.name for service in collectors}) == 4


def test_nothing_to_capture_is_refused_with_what_to_do() -> None:
    with pytest.raises(ConfigurationError, match=r"nothing to capture: name markets under ccxt\.exchanges"):
        configured_lanes(Settings())


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
    told = ("--source", "ccxt", "--exchange", "okx", "--shard", "0of1")
    assert last.arguments == ("--config", "c.yaml", "--parent-pipe", *told)
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

from prometheus_client import CollectorRegistry

from fluxforge_etl_worker.events import EtlEvents
from fluxforge_etl_worker.upkeep import Upkeep
from fluxforge_etl_worker.work import Outcome


def test_channels_that_a_venue_may_name_as_it_likes_share_one_label():
    registry = CollectorRegistry()
    rows = {"trades": 2, "orderbook/hf": 1, "positions": 3, "greeks": 4}
    outcome = Outcome(
        "ccxt-binance-0of1", "s", forged=True, records=1, quarantined=0, rows=rows, size_bytes=5, upkeep=Upkeep()
    )
    EtlEvents(registry).segment_committed(outcome, duration_s=0.1)
    counted = {name: registry.get_sample_value("fluxforge_etl_worker_rows_total", {"dataset": name}) for name in rows}
    assert counted == {"trades": 2, "orderbook/hf": 1, "positions": None, "greeks": None}
    assert registry.get_sample_value("fluxforge_etl_worker_rows_total", {"dataset": "other"}) == 7

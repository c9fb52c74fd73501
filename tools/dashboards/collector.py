"""The collectors: what each lane captures, how fresh and whole it is, and what waits on its way to the bus."""

from grafana_foundation_sdk.models.dashboard import Dashboard
from tools.dashboards.vocabulary import LANE_OF, Query, Row, build, graph, quantile

_C = "fluxforge_collector"
_LANE = "{{exchange}} {{shard}}"
_ERRORS = 'rate(fluxforge_errors_total{job="collector"}[$__rate_interval])'


def collector() -> Dashboard:
    """Return the dashboard."""
    text = "Each collector captures one shard of one exchange."
    rows = [_rates(), _feeds(), _way(), _trouble(), _process()]
    return build("fluxforge-collector", "FluxForge: collector", text, rows, ["exchange"])


def _of_lane(expr: str, by: str = "exchange, shard") -> str:
    return f"sum by ({by}) ({expr} * {LANE_OF})"


def _rated(metric: str) -> str:
    return f"rate({_C}_{metric}_total[$__rate_interval])"


def _rates() -> Row:
    return Row(
        "Rates",
        [
            graph(
                "Captured", "Records captured per second.", "ops", [Query(_of_lane(_rated("captured_records")), _LANE)]
            ),
            graph(
                "By channel",
                "Records of feeds per second, by channel.",
                "ops",
                [Query(_of_lane(_rated("records"), "channel"), "{{channel}}")],
            ),
            graph(
                "Control records",
                "What happened to feeds and lanes: connects, gaps, stalls, recoveries, drops.",
                "ops",
                [Query(_of_lane(_rated("control_records"), "event") + " or on () vector(0)", "{{event}}")],
            ),
        ],
    )


def _feeds() -> Row:
    return Row(
        "Feeds",
        [
            graph(
                "Freshness",
                "Age of the newest record of any feed of the channel.",
                "s",
                [Query(_of_lane(f"{_C}_freshness_seconds", "exchange, shard, channel"), f"{_LANE} {{{{channel}}}}")],
            ),
            graph(
                "Capture behind the exchange's clock",
                "Largest capture time less exchange time among the newest records: the network and two clocks.",
                "s",
                [Query(_of_lane(f"{_C}_capture_lag_seconds", "exchange, shard, channel"), f"{_LANE} {{{{channel}}}}")],
            ),
            graph(
                "Unsound feeds",
                "Feeds in an open hole.",
                "short",
                [Query(_of_lane(f"{_C}_unsound_feeds", "exchange, shard, channel"), f"{_LANE} {{{{channel}}}}")],
            ),
            graph(
                "Silent feeds",
                "Feeds without a record for ingestion.stall_seconds.",
                "short",
                [Query(_of_lane(f"{_C}_stale_feeds", "exchange, shard, channel"), f"{_LANE} {{{{channel}}}}")],
            ),
        ],
    )


def _way() -> Row:
    lag = f"{_C}_capture_to_bus_seconds"
    return Row(
        "On the way to the bus",
        [
            graph(
                "Capture to bus",
                "From the capture of a block's first record to the acknowledgement of the bus, after its fsync.",
                "s",
                [Query(quantile(0.5, lag), "p50"), Query(quantile(0.99, lag), "p99")],
            ),
            graph(
                "Waiting and spooled",
                "Records in memory and the publisher's window, and on disk. The spool takes over when memory is full.",
                "short",
                [
                    Query(_of_lane(f"{_C}_waiting_records"), f"waiting: {_LANE}"),
                    Query(_of_lane(f"{_C}_spooled_records"), f"spooled: {_LANE}"),
                ],
            ),
            graph(
                "Spool",
                "Size of the spool on disk; it is full at ingestion.spool_max_mb.",
                "bytes",
                [Query(_of_lane(f"{_C}_spool_bytes"), _LANE)],
            ),
            graph(
                "Dropped",
                "Records captured and dropped as memory and spool were full. Coverage names them.",
                "ops",
                [Query(_of_lane(_rated("dropped_records")), _LANE)],
            ),
        ],
    )


def _trouble() -> Row:
    return Row(
        "Trouble",
        [
            graph(
                "Errors",
                "Errors met per second, of each lane, and of each class that there is.",
                "ops",
                [
                    Query(
                        _of_lane(_ERRORS, "exchange, shard, kind") + " > 0 or " + _of_lane(_ERRORS),
                        f"{_LANE} {{{{kind}}}}",
                    )
                ],
            ),
            graph(
                "Spool taken up",
                "How often the spool took over from memory, within five minutes.",
                "short",
                [Query(_of_lane(f"increase({_C}_spool_begins_total[5m])"), _LANE)],
            ),
            graph(
                "Markets not loaded",
                "Failed tries to load the markets of the exchange, within five minutes.",
                "short",
                [Query(_of_lane(f"increase({_C}_market_load_failures_total[5m])"), _LANE)],
            ),
        ],
    )


def _process() -> Row:
    return Row(
        "Connections and processes",
        [
            graph(
                "Connections",
                "Connections to the exchange that stand.",
                "short",
                [Query(_of_lane(f"{_C}_open_connections"), _LANE)],
            ),
            graph(
                "Lane held",
                "1: this lane's collector holds its lease. 0: everybody waits.",
                "short",
                [Query(f"max by (exchange, shard) ({_C}_lane_held * {LANE_OF})", _LANE)],
                top=1,
            ),
            graph(
                "Processor",
                "Processor time used; near 1 a collector has too many feeds.",
                "percentunit",
                [Query(_of_lane('rate(process_cpu_seconds_total{job="collector"}[$__rate_interval])'), _LANE)],
            ),
            graph(
                "Memory",
                "Resident memory.",
                "bytes",
                [Query(_of_lane('process_resident_memory_bytes{job="collector"}'), _LANE)],
            ),
        ],
    )

"""The overview: is everything there, how fresh is it, how much comes, what went wrong."""

from grafana_foundation_sdk.models.dashboard import Dashboard
from tools.dashboards.vocabulary import Query, Row, build, graph, number, quantile, rate

_C = "fluxforge_collector"


def overview() -> Dashboard:
    """Return the dashboard."""
    text = "Whether everything is there, how fresh the data is, how much comes, and what went wrong."
    return build("fluxforge-overview", "FluxForge: overview", text, [_now(), _freshness(), _flow(), _lag(), _wrong()])


def _now() -> Row:
    newest = "time() - max(fluxforge_etl_newest_row_timestamp_seconds)"
    holes = "(sum(increase(fluxforge_segmenter_holes_total[$__range])) or vector(0))"
    lost = f"sum(increase({_C}_dropped_records_total[$__range])) + {holes}"
    return Row(
        "Now",
        [
            number("Processes", "Processes that answer.", "short", "count(fluxforge_build_info)"),
            number("Alerts", "Alerts that fire; docs/runbook.md says what to do.", "short", _alerts(), bad_above=1),
            number("Captured", "Records captured per second.", "ops", rate(f"{_C}_captured_records_total")),
            number("Newest row", "Age of the newest row in Parquet.", "s", newest, bad_above=1800),
            number(
                "Segments waiting",
                "Sealed segments that wait for an ETL worker or are in its hands.",
                "short",
                "max(fluxforge_etl_worker_backlog_segments)",
            ),
            number("Lost", "Records dropped and holes named, within the time shown.", "short", lost, bad_above=1),
        ],
    )


def _alerts() -> str:
    return 'count(ALERTS{alertstate="firing", alertname=~"FluxForge.*"}) or vector(0)'


def _freshness() -> Row:
    return Row(
        "Freshness",
        [
            graph(
                "Newest captured record",
                "Age of the newest record of each channel, of the exchange that is worst.",
                "s",
                [Query(f"max by (channel) ({_C}_freshness_seconds)", "{{channel}}")],
            ),
            graph(
                "Newest row in Parquet",
                "Age of the newest row of each dataset; it falls when a segment is placed.",
                "s",
                [Query("time() - max by (dataset) (fluxforge_etl_newest_row_timestamp_seconds)", "{{dataset}}")],
            ),
        ],
    )


def _flow() -> Row:
    return Row(
        "Rates",
        [
            graph(
                "Records from stage to stage",
                "Captured, stored on the bus, sealed, processed: the last two in steps of segments.",
                "ops",
                [
                    Query(rate(f"{_C}_captured_records_total"), "captured"),
                    Query(rate(f"{_C}_stored_records_total"), "stored on the bus"),
                    Query(rate("fluxforge_segmenter_sealed_records_total"), "sealed"),
                    Query(rate("fluxforge_etl_worker_records_total"), "processed"),
                ],
            ),
            graph(
                "Rows into Parquet",
                "Rows committed, by dataset.",
                "ops",
                [Query(rate("fluxforge_etl_worker_rows_total", "dataset"), "{{dataset}}")],
            ),
        ],
    )


def _lag() -> Row:
    stages = {
        "capture to bus": "fluxforge_collector_capture_to_bus_seconds",
        "capture to segment": "fluxforge_segmenter_bus_to_segment_seconds",
        "segment to Parquet": "fluxforge_etl_segment_to_parquet_seconds",
        "capture to Parquet": "fluxforge_etl_capture_to_parquet_seconds",
    }
    waiting = "max(fluxforge_etl_oldest_segment_seconds)"
    return Row(
        "Lag and backlog",
        [
            graph(
                "Lag of each stage (p99)",
                "Of a hundred, 99 are through within this time. Most of it is a segment's age.",
                "s",
                [Query(quantile(0.99, metric), name) for name, metric in stages.items()],
            ),
            graph(
                "Oldest that waits",
                "Age of the oldest record that is not sealed, and of the oldest segment that is not processed.",
                "s",
                [
                    Query("max(fluxforge_segmenter_oldest_unsealed_seconds)", "not sealed"),
                    Query(waiting, "not processed"),
                ],
            ),
        ],
    )


def _wrong() -> Row:
    return Row(
        "What went wrong",
        [
            graph(
                "Errors",
                "Errors met, retried or reported: of each service, and of each class that there is.",
                "ops",
                [
                    Query(
                        rate("fluxforge_errors_total", "job, kind")
                        + " > 0 or "
                        + rate("fluxforge_errors_total", "job"),
                        "{{job}} {{kind}}",
                    )
                ],
            ),
            graph(
                "Feeds not whole",
                "Feeds in an open hole, and feeds without a record of late.",
                "short",
                [
                    Query(f"sum by (channel) ({_C}_unsound_feeds)", "unsound: {{channel}}"),
                    Query(f"sum by (channel) ({_C}_stale_feeds)", "silent: {{channel}}"),
                ],
            ),
            graph(
                "Loss and quarantine",
                "Per second: records dropped, holes named, lines that are no records, dead segments.",
                "ops",
                [
                    Query(rate(f"{_C}_dropped_records_total"), "dropped"),
                    Query(rate("fluxforge_segmenter_holes_total") + " or on () vector(0)", "holes"),
                    Query(rate("fluxforge_etl_worker_quarantined_lines_total"), "quarantined"),
                    Query(
                        rate("fluxforge_etl_worker_segments_total", where='{outcome="dead"}') + " or on () vector(0)",
                        "dead",
                    ),
                ],
            ),
        ],
    )

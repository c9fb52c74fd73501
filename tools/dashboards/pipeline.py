"""Segmenter and ETL workers: from the streams to sealed segments, from those to Parquet."""

from grafana_foundation_sdk.models.dashboard import Dashboard
from tools.dashboards.vocabulary import Query, Row, build, graph, memory, processor, quantile, rate

_S = "fluxforge_segmenter"
_E = "fluxforge_etl_worker"
_LANES = '{lane=~"$lane"}'


def pipeline() -> Dashboard:
    """Return the dashboard."""
    text = "The segmenter seals lanes into segments; ETL workers make Parquet of them."
    rows = [_sealing(), _behind(), _working(), _lags(), _trouble(), _processes()]
    return build("fluxforge-pipeline", "FluxForge: segmenter and ETL", text, rows, ["lane"])


def _by_lane(metric: str) -> list[Query]:
    return [Query(f"max by (lane) ({_S}_{metric}{_LANES})", "{{lane}}")]


def _sealing() -> Row:
    return Row(
        "Segmenter: sealing",
        [
            graph(
                "Records sealed",
                "Records sealed per second, in steps of segments.",
                "ops",
                [Query(rate(f"{_S}_sealed_records_total", "lane", _LANES), "{{lane}}")],
            ),
            graph(
                "Bytes sealed",
                "NDJSON sealed per second.",
                "Bps",
                [Query(rate(f"{_S}_sealed_bytes_total", "lane", _LANES), "{{lane}}")],
            ),
            graph(
                "Open segments",
                "NDJSON of the open segment; it is sealed at ingestion.segment_max_mb or segment_max_age_seconds.",
                "bytes",
                _by_lane("open_bytes"),
            ),
            graph(
                "How long a seal takes",
                "From the last block of a segment to its recorded seal: fsync, upload, lane state.",
                "s",
                [Query(quantile(0.99, f"{_S}_seal_duration_seconds", "le, lane", _LANES), "{{lane}} p99")],
            ),
        ],
    )


def _behind() -> Row:
    return Row(
        "Segmenter: what is not sealed",
        [
            graph(
                "Oldest record",
                "Age of the oldest record that is not sealed.",
                "s",
                _by_lane("oldest_unsealed_seconds"),
            ),
            graph(
                "Blocks not read", "Blocks in the stream that are not read yet.", "short", _by_lane("backlog_messages")
            ),
            graph(
                "Segments sealed",
                "Segments sealed within the last five minutes.",
                "short",
                [Query(f"sum by (lane) (increase({_S}_segments_total{_LANES}[5m]))", "{{lane}}")],
            ),
            graph(
                "Lane held",
                "1: a segmenter holds the lane. 0: all of them wait.",
                "short",
                _by_lane("lane_held"),
                top=1,
            ),
        ],
    )


def _working() -> Row:
    return Row(
        "ETL workers",
        [
            graph(
                "Segments settled",
                "Segments per second by worker and outcome.",
                "ops",
                [Query(rate(f"{_E}_segments_total", "instance, outcome"), "{{instance}} {{outcome}}")],
            ),
            graph(
                "Records read",
                "Lines of committed segments per second and worker.",
                "ops",
                [Query(rate(f"{_E}_records_total", "instance"), "{{instance}}")],
            ),
            graph(
                "Segments waiting",
                "Announced and not yet acknowledged, for all workers together. This is what scales them.",
                "short",
                [Query(f"max({_E}_backlog_segments)", "segments")],
            ),
            graph(
                "Oldest segment waiting",
                "Age of the oldest announcement that is not acknowledged.",
                "s",
                [Query("max(fluxforge_etl_oldest_segment_seconds)", "age")],
            ),
        ],
    )


def _lags() -> Row:
    stages = (
        (
            "Capture to segment",
            "From the capture of a block's first record to the seal of its segment.",
            f"{_S}_bus_to_segment_seconds",
        ),
        (
            "Segment to Parquet",
            "From the seal of a segment to its parts in their place.",
            "fluxforge_etl_segment_to_parquet_seconds",
        ),
        (
            "Capture to Parquet",
            "From a segment's last record to its parts in their place.",
            "fluxforge_etl_capture_to_parquet_seconds",
        ),
        ("Work on a segment", "From the claim of a segment to its acknowledgement.", f"{_E}_segment_duration_seconds"),
    )
    return Row(
        "Lags",
        [
            graph(title, text, "s", [Query(quantile(0.5, metric), "p50"), Query(quantile(0.99, metric), "p99")])
            for title, text, metric in stages
        ],
    )


def _trouble() -> Row:
    return Row(
        "Trouble",
        [
            graph(
                "Tried again",
                "Operations tried again per second, by error.",
                "ops",
                [
                    Query(rate(f"{_S}_retries_total", "error") + " or on () vector(0)", "segmenter {{error}}"),
                    Query(rate(f"{_E}_retries_total", "error") + " or on () vector(0)", "etl-worker {{error}}"),
                ],
            ),
            graph(
                "Segments in trouble",
                "Within five minutes; docs/metrics.md says what each of these is.",
                "short",
                [
                    Query(f"sum(increase({_E}_segments_isolated_total[5m]))", "isolated"),
                    Query(f"sum(increase({_E}_events_again_total[5m]))", "announced again"),
                    Query(f"sum(increase({_E}_claims_refused_total[5m]))", "refused"),
                    Query(f"sum(increase({_S}_segments_restored_total[5m])) or on () vector(0)", "put again"),
                    Query(f"sum(increase({_S}_segments_lost_total[5m])) or on () vector(0)", "lost"),
                    Query(f"sum(increase({_S}_names_taken_total[5m])) or on () vector(0)", "name taken"),
                ],
            ),
            graph(
                "Epochs and rereads",
                "Within five minutes: streams opened for lanes that could not go on, open files dropped and read anew.",
                "short",
                [
                    Query(f"sum(increase({_S}_epochs_opened_total[5m])) or on () vector(0)", "epochs"),
                    Query(f"sum(increase({_S}_rereads_total[5m])) or on () vector(0)", "rereads"),
                ],
            ),
            graph(
                "Quarantined lines",
                "Lines that are no records, per second.",
                "ops",
                [Query(rate(f"{_E}_quarantined_lines_total"), "lines")],
            ),
        ],
    )


def _processes() -> Row:
    where = '{job=~"segmenter|etl-worker"}'
    return Row(
        "Processes",
        [
            graph(
                "Last commit",
                "How long ago each worker committed a segment.",
                "s",
                [Query("time() - fluxforge_etl_last_commit_timestamp_seconds", "{{instance}}")],
            ),
            graph(
                "Upkeep",
                "Things done around the parts of segments, within five minutes, by kind.",
                "short",
                [Query(f"sum by (kind) (increase({_E}_upkeep_total[5m])) or on () vector(0)", "{{kind}}")],
            ),
            processor(where),
            memory(where),
        ],
    )

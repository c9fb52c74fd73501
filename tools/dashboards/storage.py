"""Storage and compactor: the room there is, what is written, what is merged, what goes by age."""

from grafana_foundation_sdk.models.dashboard import Dashboard
from tools.dashboards.vocabulary import Query, Row, build, graph, memory, number, processor, rate

_P = "fluxforge_compactor"


def storage() -> Dashboard:
    """Return the dashboard."""
    text = "The disks of local places, and the compactor that merges small files and deletes by age."
    rows = [_room(), _now(), _merging(), _process()]
    return build("fluxforge-storage", "FluxForge: storage and compactor", text, rows, ["job", "instance"])


def _room() -> Row:
    where = '{job=~"$job", instance=~"$instance"}'
    free = f"fluxforge_storage_free_bytes{where}"
    name = "{{job}} {{place}}"
    return Row(
        "Disks",
        [
            graph(
                "Free, share",
                "Free share of the disk of each local place. Below 10 % an alert fires.",
                "percentunit",
                [Query(f"min by (job, place) ({free} / fluxforge_storage_total_bytes{where})", name)],
                top=1,
            ),
            graph(
                "Free",
                "Free bytes of the disk of each local place.",
                "bytes",
                [Query(f"min by (job, place) ({free})", name)],
            ),
            graph(
                "Written",
                "NDJSON sealed and processed per second, before compression.",
                "Bps",
                [
                    Query(rate("fluxforge_segmenter_sealed_bytes_total"), "sealed"),
                    Query(rate("fluxforge_etl_worker_segment_bytes_total"), "processed"),
                ],
            ),
        ],
    )


def _now() -> Row:
    last = f"time() - max({_P}_last_round_timestamp_seconds)"
    return Row(
        "Compactor: rounds",
        [
            number("Last round", "How long ago every partition had been looked at.", "s", last, bad_above=3600),
            number("It took", "How long the last round took.", "s", f"max({_P}_round_duration_seconds)"),
            number("Partitions", "Partitions of the last round.", "short", f"max({_P}_partitions)"),
            number(
                "Failing", "Partitions whose last try failed.", "short", f"max({_P}_partitions_failing)", bad_above=1
            ),
        ],
    )


def _merging() -> Row:
    return Row(
        "Compactor: work",
        [
            graph(
                "Files",
                "Files merged into others per second, and the merges.",
                "ops",
                [Query(rate(f"{_P}_files_merged_total"), "files"), Query(rate(f"{_P}_merges_total"), "merges")],
            ),
            graph(
                "Bytes", "Bytes of files that were merged.", "Bps", [Query(rate(f"{_P}_bytes_merged_total"), "bytes")]
            ),
            graph("Rows", "Rows of files that were merged.", "ops", [Query(rate(f"{_P}_rows_merged_total"), "rows")]),
            graph(
                "Failed, left, deleted",
                "Within five minutes: partitions that failed, files that are none of ours, objects deleted by age.",
                "short",
                [
                    Query(
                        f"sum by (error) (increase({_P}_partitions_failed_total[5m])) or on () vector(0)",
                        "failed {{error}}",
                    ),
                    Query(f"sum(increase({_P}_files_left_total[5m]))", "left"),
                    Query(
                        f"sum by (what) (increase({_P}_objects_expired_total[5m])) or on () vector(0)",
                        "deleted {{what}}",
                    ),
                    Query(
                        f"sum by (error) (increase({_P}_retries_total[5m])) or on () vector(0)", "tried again {{error}}"
                    ),
                ],
            ),
        ],
    )


def _process() -> Row:
    where = '{job=~"$job", instance=~"$instance"}'
    return Row(
        "Processes",
        [
            processor(where),
            memory(where),
            graph(
                "Open files",
                "Open file descriptors, as a share of how many there may be.",
                "percentunit",
                [Query(f"process_open_fds{where} / process_max_fds{where}", "{{job}} {{instance}}")],
            ),
        ],
    )

"""The bus, as our services see it: a nats-server exports no metrics of its own."""

from grafana_foundation_sdk.models.dashboard import Dashboard
from tools.dashboards.vocabulary import Query, Row, build, graph, number, quantile, rate

_S = "fluxforge_segmenter"
_LANES = '{lane=~"$lane"}'


def nats() -> Dashboard:
    """Return the dashboard."""
    text = "Connections, streams and the queue of segments, as the services see them."
    return build("fluxforge-nats", "FluxForge: NATS", text, [_connections(), _streams(), _queue()], ["lane"])


def _connections() -> Row:
    lag = "fluxforge_collector_capture_to_bus_seconds"
    return Row(
        "Connections",
        [
            number("Connected", "Processes whose connection stands.", "short", "sum(fluxforge_bus_connected)"),
            number(
                "Not connected",
                "Processes whose connection does not stand.",
                "short",
                "count(fluxforge_bus_connected == 0) or on () vector(0)",
                bad_above=1,
            ),
            number(
                "Fullest stream",
                "Share of what a stream may hold, of the fullest.",
                "percentunit",
                _fill("max"),
                bad_above=0.8,
            ),
            number(
                "Acknowledged within",
                "p99, from capture to the acknowledgement.",
                "s",
                quantile(0.99, lag),
                bad_above=2,
            ),
        ],
    )


def _fill(how: str) -> str:
    return f"{how} ({_S}_stream_bytes{_LANES} / {_S}_stream_bytes_max{_LANES})"


def _streams() -> Row:
    return Row(
        "Streams of lanes",
        [
            graph(
                "Fill",
                "Share of nats.lane_max_bytes that a stream holds. Sealed data leaves it after nats.bus_grace_seconds.",
                "percentunit",
                [Query(_fill("max by (lane)"), "{{lane}}")],
                top=1,
            ),
            graph(
                "Size",
                "What a stream holds.",
                "bytes",
                [Query(f"max by (lane) ({_S}_stream_bytes{_LANES})", "{{lane}}")],
            ),
            graph(
                "Blocks not read",
                "Blocks in the stream that the segmenter has not read.",
                "short",
                [Query(f"max by (lane) ({_S}_backlog_messages{_LANES})", "{{lane}}")],
            ),
        ],
    )


def _queue() -> Row:
    return Row(
        "In and out",
        [
            graph(
                "Stored",
                "Records that the bus acknowledged per second, and those captured.",
                "ops",
                [
                    Query(rate("fluxforge_collector_stored_records_total"), "stored"),
                    Query(rate("fluxforge_collector_captured_records_total"), "captured"),
                ],
            ),
            graph(
                "Segments waiting",
                "Announcements in the queue of the ETL workers that are not acknowledged.",
                "short",
                [Query("max(fluxforge_etl_worker_backlog_segments)", "segments")],
            ),
            graph(
                "Errors of the bus",
                "Operations that the bus did not answer, per second.",
                "ops",
                [Query(rate("fluxforge_errors_total", "job", '{kind=~"Bus.*"}'), "{{job}}")],
            ),
            graph(
                "Connections",
                "1: the connection of every process of the service stands.",
                "short",
                [Query("min by (job) (fluxforge_bus_connected)", "{{job}}")],
                top=1,
            ),
        ],
    )

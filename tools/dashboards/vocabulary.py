"""What dashboards are made of: a graph, a number, a row of them, a dashboard with the variables all of them have."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.models import common as kinds
from grafana_foundation_sdk.models import dashboard as models

_COLUMNS: Final = 24
_GRAPH_ROWS: Final = 8
_NUMBER_ROWS: Final = 4
_SOURCE: Final = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
_NOW: Final = ["lastNotNull"]

LANE_OF: Final = 'on (job, instance) group_left (exchange, shard) fluxforge_collector_info{exchange=~"$exchange"}'
"""What a collector's metric is multiplied with: its lane, and only if that is of a chosen exchange."""

Panel = timeseries.Panel | stat.Panel


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked of Prometheus, and how its series are called."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under a heading; those beside one another share the width."""

    title: str
    panels: Sequence[Panel]


def rate(metric: str, by: str = "", where: str = "") -> str:
    """Return the sum of a counter's rates."""
    return f"sum{f' by ({by})' if by else ''} (rate({metric}{where}[$__rate_interval]))"


def quantile(share: float, metric: str, by: str = "le", where: str = "") -> str:
    """Return a quantile of a histogram."""
    return f"histogram_quantile({share}, sum by ({by}) (rate({metric}_bucket{where}[$__rate_interval])))"


def graph(title: str, text: str, unit: str, queries: Sequence[Query], *, top: float | None = None) -> timeseries.Panel:
    """Return a panel of lines over time, from 0 on."""
    panel = timeseries.Panel().title(title).description(text).unit(unit).min(0).datasource(_SOURCE).height(_GRAPH_ROWS)
    if top is not None:
        panel.max(top)
    panel.fill_opacity(8).show_points(kinds.VisibilityMode.NEVER)
    panel.legend(
        common.VizLegendOptions()
        .display_mode(kinds.LegendDisplayMode.TABLE)
        .placement(kinds.LegendPlacement.BOTTOM)
        .show_legend(show_legend=True)
        .calcs([*_NOW, "max"])
    )
    panel.tooltip(common.VizTooltipOptions().mode(kinds.TooltipDisplayMode.MULTI).sort(kinds.SortOrder.DESCENDING))
    for ref_id, query in zip("ABCDEF", queries, strict=False):
        panel.with_target(
            prometheus.Dataquery()
            .expr(query.expr)
            .legend_format(query.legend)
            .ref_id(ref_id)
            .datasource(_SOURCE)
            .range()
        )
    return panel


def number(title: str, text: str, unit: str, expr: str, *, bad_above: float | None = None) -> stat.Panel:
    """Return a panel of one number, red above a limit."""
    panel = stat.Panel().title(title).description(text).unit(unit).datasource(_SOURCE).height(_NUMBER_ROWS)
    steps = [models.Threshold(value=None, color="green")]
    if bad_above is not None:
        steps.append(models.Threshold(value=bad_above, color="red"))
    panel.thresholds(dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps))
    panel.reduce_options(common.ReduceDataOptions().calcs(_NOW).values(values=False))
    panel.graph_mode(kinds.BigValueGraphMode.AREA).color_mode(kinds.BigValueColorMode.VALUE)
    query = prometheus.Dataquery().expr(expr).ref_id("A").datasource(_SOURCE).range()
    return panel.with_target(query)


def processor(where: str) -> timeseries.Panel:
    """Return the panel of what processes use of the processor."""
    used = rate("process_cpu_seconds_total", "job, instance", where)
    return graph("Processor", "Processor time used.", "percentunit", [Query(used, "{{job}} {{instance}}")])


def memory(where: str) -> timeseries.Panel:
    """Return the panel of the memory that processes hold."""
    held = f"process_resident_memory_bytes{where}"
    return graph("Memory", "Resident memory.", "bytes", [Query(held, "{{job}} {{instance}}")])


def build(uid: str, title: str, text: str, rows: Sequence[Row], variables: Sequence[str] = ()) -> models.Dashboard:
    """Return a dashboard. `variables`: names of `VARIABLES` that its queries use."""
    board = dashboard.Dashboard(title).uid(uid).description(text).tags(["fluxforge"]).timezone("utc")
    board.time("now-1h", "now").refresh("10s").readonly().tooltip(models.DashboardCursorSync.CROSSHAIR)
    board.link(
        dashboard.DashboardLink("FluxForge")
        .type(models.DashboardLinkType.DASHBOARDS)
        .tags(["fluxforge"])
        .as_dropdown(as_dropdown=True)
        .include_vars(include_vars=True)
        .keep_time(keep_time=True)
    )
    board.with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    for name in variables:
        board.with_variable(_variable(name))
    ids = iter(range(1, 1000))
    for row in rows:
        board.with_row(dashboard.Row(row.title).id(next(ids)))
        for panel in row.panels:
            board.with_panel(panel.id(next(ids)).span(_COLUMNS // min(len(row.panels), 4 if _is_graph(panel) else 6)))
    return board.build()


def _is_graph(panel: Panel) -> bool:
    return isinstance(panel, timeseries.Panel)


VARIABLES: Final = {
    "exchange": ("Exchange", "label_values(fluxforge_collector_info, exchange)"),
    "lane": ("Lane", "label_values(fluxforge_segmenter_lane_held, lane)"),
    "instance": ("Instance", 'label_values(fluxforge_build_info{job=~"$job"}, instance)'),
    "job": ("Service", "label_values(fluxforge_build_info, job)"),
}
"""What can be chosen: a label, and where its values are from."""


def _variable(name: str) -> dashboard.QueryVariable:
    label, query = VARIABLES[name]
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(_SOURCE)
        .query(query)
        .multi(multi=True)
        .include_all(include_all=True)
        .all_value(".*")
        .current(models.VariableOption(text="All", value="$__all"))
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
    )

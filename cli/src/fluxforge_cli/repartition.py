"""`fluxforge repartition`: the rows of the datasets in a new root, by other partition columns."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from fluxforge_cli.keys import key_of, new_key_of
from fluxforge_cli.options import ConfigOption, ThereOption, choose

if TYPE_CHECKING:
    from rich.console import Console

    from fluxforge.dataset.repartition import Plan, Repartition
    from fluxforge.runtime.settings import Settings

SourceArgument = Annotated[
    str,
    typer.Argument(
        metavar="SRC",
        help="A root of datasets, or a source or a dataset in it: a directory, or a key such as processed.",
    ),
]
TargetArgument = Annotated[
    str, typer.Argument(metavar="DST", help="The new root in the same store, such as processed_by_day.")
]
ColsOption = Annotated[
    str, typer.Option("--partition-cols", metavar="A,B", help="Of source, exchange, symbol, date and hour; in order.")
]
SortOption = Annotated[
    str, typer.Option("--sort", metavar="COLUMN", help="ts: rows of a file stand in the order of the datasets.")
]


@dataclass(slots=True)
class _Line:
    """What is told of one dataset of one source."""

    units: int = 0
    files_before: int = 0
    files_after: int = 0
    rows: int = 0
    bytes_before: int = 0
    bytes_after: int = 0


def repartition(
    source: SourceArgument,
    target: TargetArgument,
    partition_cols: ColsOption,
    sort: SortOption = "ts",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be written, and change nothing.")] = False,
    config: ConfigOption = None,
    data: ThereOption = None,
) -> None:
    """Write datasets anew by other partition columns, into a root of their own; the source never changes.

    Every row is hashed as it is read, and again from what was written before that is placed. A run that was interrupted
    is taken up by the next one: what stands is skipped, what changed since is written anew.
    """
    from fluxforge.domain.errors import UsageError  # noqa: PLC0415 - beside its use
    from fluxforge_cli.screen.terminal import terminal  # noqa: PLC0415 - heavy

    if sort != "ts":
        raise UsageError(
            f"repartition: expected --sort ts, was {sort!r}; rows of a file stand in the order of the datasets, which "
            "begins with ts, and readers rely on it"
        )
    work = _work(choose(config, data).settings, source, target, partition_cols)
    console = terminal()
    if dry_run:
        failures = _show_plan(console, work, _plan(work))
    else:
        with work.alone():
            work.sweep()
            failures = _run(console, work, _plan(work))
    for failure in failures:
        console.print(f"failed: {failure}", style="red", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(1 if failures else 0)


def _work(settings: "Settings", source: str, target: str, partition_cols: str) -> "Repartition":
    from fluxforge.adapters.local_store import LocalStore  # noqa: PLC0415 - heavy
    from fluxforge.adapters.system_clock import SystemClock  # noqa: PLC0415 - heavy
    from fluxforge.dataset.repartition import Bench, Repartition  # noqa: PLC0415 - heavy
    from fluxforge.domain.repartition import Course  # noqa: PLC0415 - heavy
    from fluxforge_cli.stores import output_store  # noqa: PLC0415 - heavy

    cols = [col.strip() for col in partition_cols.split(",")]
    course = Course.of(key_of(settings, source), new_key_of(settings, target), cols, settings.layout)
    store = output_store(settings)
    return Repartition(
        store,
        course,
        Bench.of(store, settings.storage.scratch_dir, course.target),
        SystemClock(),
        compression=settings.etl.compression,
        follows_journal=not isinstance(store, LocalStore),
    )


def _plan(work: "Repartition") -> "Plan":
    from fluxforge.domain.errors import UsageError  # noqa: PLC0415 - beside its use

    plan = work.plan()
    if not plan.units and not plan.strangers:
        raise UsageError(
            f"repartition: no Parquet file at or below {work.course.prefix!r}; "
            "`fluxforge dataset ls` shows what there is"
        )
    return plan


def _run(console: "Console", work: "Repartition", plan: "Plan") -> list[str]:
    from rich.progress import Progress  # noqa: PLC0415 - heavy

    from fluxforge.domain.errors import FatalError, FluxForgeError  # noqa: PLC0415 - beside its use

    failures = _strangers(plan)
    lines: dict[str, _Line] = {}
    with Progress(console=console, transient=True) as progress:
        for planned in progress.track(plan.units, description="repartitioning"):
            try:
                record = work.run(planned)
            except FatalError:
                raise
            except FluxForgeError as error:
                failures.append(str(error))
                continue
            line = lines.setdefault(f"{record.source}/{record.dataset}", _Line())
            line.units += 1
            line.files_before += len(record.inputs)
            line.files_after += len(record.outputs)
            line.rows += record.rows
            line.bytes_before += sum(file.size_bytes for file in record.inputs)
            line.bytes_after += sum(file.size_bytes for file in record.outputs)
    _show(console, lines)
    standing = sum(planned.stands for planned in plan.units)
    done = sum(line.units for line in lines.values())
    console.print(f"{done:,} units, {standing:,} of which stood already: verified row for row", highlight=False)
    return failures


def _show(console: "Console", lines: dict[str, _Line]) -> None:
    from rich.table import Table  # noqa: PLC0415 - heavy

    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("dataset")
    for heading in ("units", "files before", "after", "rows", "bytes before", "after"):
        table.add_column(heading, justify="right")
    for name, line in lines.items():
        files, sizes = (line.files_before, line.files_after), (line.bytes_before, line.bytes_after)
        table.add_row(name, *(f"{number:,}" for number in (line.units, *files, line.rows, *sizes)))
    console.print(table)


def _show_plan(console: "Console", work: "Repartition", plan: "Plan") -> list[str]:
    from fluxforge.domain.errors import FluxForgeError  # noqa: PLC0415 - beside its use

    failures = _strangers(plan)
    for planned in plan.units:
        if planned.stands:
            continue
        try:
            rows = work.preview(planned)
        except FluxForgeError as error:
            failures.append(str(error))
            continue
        size_bytes = sum(planned.sizes.values())
        again = "again, as its files changed" if planned.record else "anew"
        files = f"{len(planned.sizes):,} files, {rows:,} rows, {size_bytes:,} bytes"
        console.print(
            f"{planned.unit}: {files} would be written {again}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    standing = sum(planned.stands for planned in plan.units)
    console.print(
        f"{len(plan.units):,} units, {standing:,} of which stand in {work.course.target} already; nothing was changed",
        highlight=False,
        soft_wrap=True,
    )
    return failures


def _strangers(plan: "Plan") -> list[str]:
    return [f"{key}: expected a file of a dataset, <source>/<dataset>/<column>=<value>/..." for key in plan.strangers]

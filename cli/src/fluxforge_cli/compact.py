"""`fluxforge compact`: merge small files of the datasets by hand, now, whatever still grows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from fluxforge_cli.keys import key_of
from fluxforge_cli.options import ConfigOption, ThereOption, choose

if TYPE_CHECKING:
    from rich.console import Console

    from fluxforge.runtime.settings import Settings
    from fluxforge_compactor.compact import Compactor, Result
    from fluxforge_compactor.settings import CompactorSettings

PathArgument = Annotated[
    str,
    typer.Argument(
        metavar="PATH", help="Of a dataset or a partition: a directory, or a key such as processed/ccxt/trades."
    ),
]


@dataclass(frozen=True, slots=True)
class _State:
    """The files of some partitions: how many, how many bytes, and how long it takes to read one column of them."""

    files: int
    size_bytes: int
    scan_s: float


def compact(
    path: PathArgument,
    target_file_count: Annotated[
        int | None, typer.Option("--target-file-count", min=1, help="Files that a partition keeps; else as configured.")
    ] = None,
    min_file_count: Annotated[
        int | None, typer.Option("--min-file-count", min=2, help="Files from which on it is worth it.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be merged, and change nothing.")] = False,
    config: ConfigOption = None,
    data: ThereOption = None,
) -> None:
    """Merge small Parquet files; the rows never change. Readers on a disk, and ours on S3, see them once at any moment.

    A plain glob on S3 does not: it sees them twice until the merged files are deleted.
    Every row is hashed on its way in and read again from what was written before anything takes its place. Merged files
    are deleted after compaction.grace_seconds, by the next run or by the compactor.
    """
    from fluxforge.domain.errors import PermanentError, UsageError  # noqa: PLC0415 - beside its use
    from fluxforge_cli.screen.terminal import terminal  # noqa: PLC0415 - heavy
    from fluxforge_compactor.main import compactor_of  # noqa: PLC0415 - heavy

    settings = choose(config, data).settings
    own = _own(settings, target_file_count, min_file_count)
    compactor, access = compactor_of(settings, own)
    prefix = key_of(settings, path)
    processed_dir = settings.storage.paths.processed_dir
    if prefix != processed_dir and not prefix.startswith(f"{processed_dir}/"):
        raise UsageError(f"compact: expected a path at or below {processed_dir!r}, was {path!r}")
    # What was edited or removed leaves something to clear where no file may stand any more.
    partitions = sorted({*compactor.partitions(prefix), *compactor.journaled(prefix)})
    if not partitions:
        raise UsageError(f"compact: no Parquet file at or below {prefix!r}; `fluxforge segments` shows what there is")
    console = terminal()
    if dry_run:
        _show_plan(console, [compactor.preview(partition) for partition in partitions])
        return
    access.probe()
    before = _state(compactor, partitions)
    results, failures = _compact_all(console, compactor, partitions, PermanentError)
    _show(console, results, before, _state(compactor, partitions))
    for failure in failures:
        console.print(f"failed: {failure}", style="red", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(1 if failures else 0)


def _own(settings: "Settings", target_count: int | None, min_count: int | None) -> "CompactorSettings":
    from fluxforge_compactor.settings import CompactorSettings  # noqa: PLC0415 - heavy

    own = CompactorSettings.of(settings)
    merge = own.policy.merge
    merge = replace(merge, target_count=target_count or merge.target_count, min_count=min_count or merge.min_count)
    return replace(own, policy=replace(own.policy, merge=merge, quiet_ns=0))


def _compact_all(
    console: "Console", compactor: "Compactor", partitions: Sequence[str], failing: type[Exception]
) -> tuple[list["Result"], list[str]]:
    from rich.progress import Progress  # noqa: PLC0415 - heavy

    results, failures = [], []
    with Progress(console=console, transient=True) as progress:
        for partition in progress.track(partitions, description="merging"):
            try:
                result = compactor.compact(partition)
            except failing as error:
                failures.append(str(error))
            else:
                results.append(result)
                failures += map(str, result.failures)
    return results, failures


def _state(compactor: "Compactor", partitions: Sequence[str]) -> _State:
    from fluxforge.adapters.system_clock import SystemClock  # noqa: PLC0415 - heavy

    clock = SystemClock()
    begun_ns = clock.monotonic_ns()
    files = [size for partition in partitions for size in compactor.read_times(partition)]
    return _State(len(files), sum(files), (clock.monotonic_ns() - begun_ns) / 1e9)


def _show_plan(console: "Console", results: Sequence["Result"]) -> None:
    merges = [(result.partition, merge) for result in results for merge in result.merges]
    for partition, merge in merges:
        size_bytes = sum(file.size_bytes for file in merge.parents)
        rows = sum(file.rows for file in merge.parents)
        console.print(
            f"{partition}: {len(merge.parents):,} files, {rows:,} rows, {size_bytes:,} bytes would become one",
            highlight=False,
            soft_wrap=True,
        )
    console.print(f"{len(merges):,} merges in {len(results):,} partitions; nothing was changed", highlight=False)
    _show_left(console, results)


def _show(console: "Console", results: Sequence["Result"], before: _State, after: _State) -> None:
    from rich.table import Table  # noqa: PLC0415 - heavy

    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("")
    for heading in ("files", "bytes", "scan time"):
        table.add_column(heading, justify="right")
    for name, state in (("before", before), ("after", after)):
        table.add_row(name, f"{state.files:,}", f"{state.size_bytes:,}", f"{state.scan_s:.3f} s")
    console.print(table)
    merges = [merge for result in results for merge in result.merges]
    merged = sum(len(merge.parents) for merge in merges)
    rows = sum(merge.output.rows for merge in merges if merge.output)
    console.print(
        f"{merged:,} files with {rows:,} rows became {len(merges):,} in {len(results):,} partitions", highlight=False
    )
    _show_left(console, results)


def _show_left(console: "Console", results: Sequence["Result"]) -> None:
    for result in results:
        for left in result.left:
            text = f"left alone: {result.partition}/{left.name}: {left.reason}"
            console.print(text, markup=False, highlight=False, soft_wrap=True)
        if result.busy:
            console.print(f"{result.partition}: another compactor is at work on it", highlight=False, soft_wrap=True)
        if result.found and result.found.waiting:
            waiting = len(result.found.waiting)
            console.print(
                f"{result.partition}: {waiting:,} files wait until their segments are placed",
                highlight=False,
                soft_wrap=True,
            )

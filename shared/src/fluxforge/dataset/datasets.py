"""Datasets: what stands in a store of ours, as lazy frames. Partitions that cannot hold what is asked for are not read.

On S3 the compaction journal decides which files count, so that a scan is exact at every moment; on a disk the directory
does. A scan that a merge overtakes may fail with a missing file, and is then to be repeated; it is never wrong.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from fluxforge.adapters.local_store import LocalStore
from fluxforge.dataset.change import delete, upsert
from fluxforge.dataset.corrections import Corrections
from fluxforge.dataset.edit import Edited
from fluxforge.dataset.holes import ANY
from fluxforge.dataset.place import Place
from fluxforge.dataset.select import Moment, Names, Selection
from fluxforge.dataset.stats import Stat, stat_of
from fluxforge.dataset.verify import Flaw, Verification
from fluxforge.domain.errors import FileUnreadableError, UsageError
from fluxforge.domain.layout import Layout
from fluxforge.domain.partition import Dataset, dataset_root
from fluxforge.ports.store import Store
from fluxforge.runtime.live import live_keys
from fluxforge.runtime.settings import Settings
from fluxforge.runtime.stored_file import StoredFile

_NAMES: Final = {"books": Dataset.BOOKS, "hf": Dataset.HF, "bars": Dataset.BARS}
_FIRST_HAND: Final = {
    "resent": ~pl.col("resent").fill_null(value=False),
    "source_kind": pl.col("source_kind").ne_missing("backfill"),
}
"""What trades are that the venue sent once, as they happened."""
_READERS: Final = 16
_SOFTWARE: Final = f"fluxforge {version('fluxforge')}"


class NoSuchDatasetError(UsageError):
    """A dataset, or a part of one, of which there is no file."""


class Datasets:
    """The datasets of one output store.

    Datasets are named as in docs/formats/dataset.md (`trades`, `orderbook/hf`), or `books`, `hf` and `bars`.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._store = place.store
        self._processed_dir = place.layout.processed_dir
        self._url = place.url
        self._options = dict(place.options)
        self._follows_journal = not isinstance(place.store, LocalStore)

    @classmethod
    def at(cls, directory: str | Path, *, processed_dir: str = "processed") -> "Datasets":
        """Return the datasets below a directory, beside the segments that they were made of."""
        return cls(Place.at(Path(directory).absolute(), processed_dir))

    @classmethod
    def of(cls, settings: Settings) -> "Datasets":
        """Return the datasets of a configuration."""
        return cls(Place.of(settings))

    def ls(self) -> list[tuple[str, str]]:
        """Return (source, dataset) of everything that has files, in order."""
        found = set()
        for key in live_keys(self._store, self._processed_dir, follows_journal=False):
            source, *directories, _ = key.removeprefix(f"{self._processed_dir}/").split("/")
            found.add((source, "/".join(name for name in directories if "=" not in name)))
        return sorted(found)

    def files(self, dataset: str, selection: Selection | None = None, *, source: Names = None) -> dict[str, list[str]]:
        """Return the keys of the files that may hold rows of a selection, by source, in order.

        Raises:
            NoSuchDatasetError: The dataset has no file at all.
        """
        name = _NAMES.get(dataset, dataset)
        chosen, follows_journal = selection or Selection(), self._follows_journal
        return {
            one: list(self._keys(one, name, chosen, follows_journal=follows_journal))
            for one in self._sources(dataset, source)
        }

    def scan(
        self,
        dataset: str,
        *,
        source: Names = None,
        exchange: Names = None,
        symbol: Names = None,
        start: Moment | None = None,
        end: Moment | None = None,
        columns: Sequence[str] | None = None,
        resent: bool = False,
    ) -> pl.LazyFrame:
        """Return the rows of a dataset with `start <= ts < end`, and `source` in front of its columns.

        Files stand in no order beyond their partitions': sort by `ts` where it matters. `resent`: with trades that the
        venue sent again or that were fetched after a hole, which are left out otherwise.

        Raises:
            NoSuchDatasetError: The dataset has no file at all.
            UsageError: A moment that is none, or no row can be meant.
            FileUnreadableError: A file is damaged.
        """
        selection = Selection.of(exchange, symbol, start, end)
        frames = [
            frame.with_columns(pl.lit(one).alias("source"))
            for one, keys in self.files(dataset, selection, source=source).items()
            for frame in self._frames(str(_NAMES.get(dataset, dataset)), keys)
        ]
        if not frames:
            frames = [self._empty(dataset, source)]
        frame = pl.concat(frames, how="diagonal_relaxed") if len(frames) > 1 else frames[0]
        frame = frame.filter(*_conditions(selection))
        if dataset == Dataset.TRADES and not resent:
            known = frame.collect_schema().names()  # trades of former versions cannot be told apart so
            frame = frame.filter(*(condition for name, condition in _FIRST_HAND.items() if name in known))
        return frame.select(list(columns)) if columns is not None else frame.select("source", pl.exclude("source"))

    def schema(self, dataset: str, *, source: Names = None) -> pa.Schema:
        """Return the columns of a dataset, as its files have them.

        Raises:
            NoSuchDatasetError: It has no file.
        """
        files = self.files(dataset, source=source)
        return self._schema_of(next(keys[0] for keys in files.values() if keys))

    def stat(self, dataset: str, selection: Selection | None = None, *, source: Names = None) -> list[Stat]:
        """Return what the footers of a dataset's files say, and `coverage` of their feeds, by source.

        Raises:
            NoSuchDatasetError: It has no file.
        """
        name = str(_NAMES.get(dataset, dataset))
        return [
            stat_of(self._store, one, name, keys, self._coverage(one, selection or Selection()))
            for one, keys in self.files(dataset, selection, source=source).items()
        ]

    def verify(self, dataset: str, *, source: Names = None, commits: Store | None = None) -> Iterator[Flaw]:
        """Yield what is wrong with a dataset: files that cannot be read, rows out of order or place, keys that repeat.

        Files of a merge are held against the journal. `commits`: the segments' store, whose commit records the parts
        are held against.

        Raises:
            NoSuchDatasetError: It has no file.
        """
        name = str(_NAMES.get(dataset, dataset))
        layout = Layout(processed_dir=self._processed_dir)
        verification = Verification(self._store, commits, layout, name, self._follows_journal)
        for one in self._sources(dataset, source):
            keys = list(self._keys(one, name, Selection(), follows_journal=False))
            for partition in dict.fromkeys(key.rpartition("/")[0] for key in keys):
                yield from verification.flaws(partition)

    def delete(
        self,
        dataset: str,
        where: str | None = None,
        *,
        source: Names = None,
        exchange: Names = None,
        symbol: Names = None,
        start: Moment | None = None,
        end: Moment | None = None,
        dry_run: bool = False,
    ) -> list[Edited]:
        """Delete the rows of a selection for which an SQL condition holds, such as `price < 0`; None: all of them.

        Each partition changes in one step, or says why not; its journal says why, and the audit counts what is gone.

        Raises:
            NoSuchDatasetError: The dataset has no file at all.
            UsageError: The condition is none for these columns.
            ConfigurationError: Files cannot be replaced here.
        """
        selection = Selection.of(exchange, symbol, start, end)
        partitions = _partitions_of(self.files(dataset, selection, source=source))
        return list(delete(self._place.editor(), partitions, selection, where, dry_run=dry_run))

    def upsert(
        self, dataset: str, rows: pl.DataFrame, *, source: str | None = None, dry_run: bool = False
    ) -> list[Edited]:
        """Correct rows by their key (docs/formats/dataset.md), and add those whose key does not stand yet.

        `rows` have the columns of the key and of the order, and those that change, or what a scan returns of both. Each
        partition changes in one step.

        Raises:
            NoSuchDatasetError: The dataset has no file at all.
            UsageError: The rows are none for these columns, or of a partition that does not stand.
            ConfigurationError: Files cannot be replaced here.
        """
        if "source" in rows.columns:
            sources = rows["source"].unique().to_list()
            if len(sources) > 1 or (source and sources != [source]):
                raise UsageError(f"corrections: expected rows of one source, were of {sorted(sources)}")
            source, rows = source or next(iter(sources), None), rows.drop("source")
        corrections = Corrections.of(rows, str(_NAMES.get(dataset, dataset)), self.schema(dataset, source=source))
        partitions = _partitions_of(self.files(dataset, source=source))
        return list(upsert(self._place.editor(), partitions, corrections, dry_run=dry_run))

    def _coverage(self, source: str, selection: Selection) -> pl.LazyFrame | None:
        """Return what may be told of the feeds of a selection: a hole may have begun long before."""
        symbols = selection.symbols and selection.symbols | {ANY}
        told = Selection(selection.exchanges, symbols, None, selection.end)
        keys = list(self._keys(source, Dataset.COVERAGE, told, follows_journal=self._follows_journal))
        frames = list(self._frames(Dataset.COVERAGE, keys))
        if not frames:
            return None
        conditions = _conditions(Selection(selection.exchanges, symbols))
        return pl.concat(frames, how="diagonal_relaxed").filter(*conditions)

    def _sources(self, dataset: str, source: Names) -> list[str]:
        name = _NAMES.get(dataset, dataset)
        wanted = {source} if isinstance(source, str) else set(source or ())
        there = self.ls()
        sources = [one for one, other in there if other == name and (not wanted or one in wanted)]
        if not sources:
            known = ", ".join(sorted({other for _, other in there})) or "nothing"
            raise NoSuchDatasetError(
                f"dataset {dataset!r}: no file below {self._url}/{self._processed_dir}; there is {known}"
            )
        return sources

    def _keys(self, source: str, dataset: str, selection: Selection, *, follows_journal: bool) -> Iterator[str]:
        root = dataset_root(self._processed_dir, source, dataset)

        def is_wanted(partition: str) -> bool:
            directories = partition.removeprefix(root).strip("/").split("/")
            return all("=" in name for name in directories if name) and selection.may_hold(directories)

        return live_keys(self._store, root, follows_journal=follows_journal, wanted=is_wanted)

    def _frames(self, dataset: str, keys: Sequence[str]) -> Iterator[pl.LazyFrame]:
        """Yield one frame for all files of the same columns: an option or another version may have changed them."""
        for paths in self._by_schema(dataset, keys).values():
            yield pl.scan_parquet(paths, hive_partitioning=False, glob=False, storage_options=self._options or None)

    def _by_schema(self, dataset: str, keys: Sequence[str]) -> dict[pa.Schema, list[str]]:
        """Return the paths of files by their columns.

        Raises:
            FileUnreadableError: One is damaged.
        """
        # Nothing joins a partition of these with other columns. Elsewhere two workers may have begun one at once.
        as_one = dataset in set(Dataset)
        alike: dict[str, list[str]] = {}
        for key in keys:
            alike.setdefault(key.rpartition("/")[0] if as_one else key, []).append(key)
        with ThreadPoolExecutor(_READERS) as readers:
            schemas = readers.map(self._schema_of, [those[0] for those in alike.values()])
            found: dict[pa.Schema, list[str]] = {}
            for schema, those in zip(schemas, alike.values(), strict=True):
                found.setdefault(schema, []).extend(f"{self._url}/{key}" for key in those)
        return found

    def _schema_of(self, key: str) -> pa.Schema:
        try:
            return pq.read_schema(self._open(key)).remove_metadata()
        except (pa.ArrowException, OSError) as error:
            raise FileUnreadableError(key, str(error).splitlines()[0]) from error

    def _empty(self, dataset: str, source: Names) -> pl.LazyFrame:
        empty = pl.from_arrow(self.schema(dataset, source=source).empty_table())
        assert isinstance(empty, pl.DataFrame)
        return empty.lazy().with_columns(pl.lit("").alias("source"))

    def _open(self, key: str) -> pa.PythonFile:
        return pa.PythonFile(StoredFile(self._store, key), mode="r")


def _conditions(selection: Selection) -> Iterator[pl.Expr]:
    for column, names in (("exchange", selection.exchanges), ("symbol", selection.symbols)):
        if names:
            yield pl.col(column).cast(pl.String).is_in(sorted(names))
    if selection.start is not None:
        yield pl.col("ts") >= selection.start
    if selection.end is not None:
        yield pl.col("ts") < selection.end


def _partitions_of(files: Mapping[str, Sequence[str]]) -> list[str]:
    return sorted({key.rpartition("/")[0] for keys in files.values() for key in keys})

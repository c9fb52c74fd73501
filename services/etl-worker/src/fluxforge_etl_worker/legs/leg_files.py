"""Leg files: the datasets of both legs of one exchange, as they are read for one hour.

They are listed once; what the compactor merged since, and a reader no longer finds, is listed anew. What is told of the
legs is wanted whole by every hour: each file of it is read once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final, Self, TypeVar

import pyarrow as pa

from fluxforge.dataset.select import Selection
from fluxforge.domain.errors import ObjectNotFoundError
from fluxforge.domain.lane import Lane, Leg
from fluxforge.domain.layout import Layout
from fluxforge.domain.partition import Dataset, dataset_root
from fluxforge.ports.store import Store
from fluxforge.runtime.live import live_keys
from fluxforge_etl_worker.coverage import CoverageRow
from fluxforge_etl_worker.legs.rows import read_coverage, read_ids, read_rows

_NS: Final = 10**9
_LISTINGS_MAX: Final = 3
_Read = TypeVar("_Read")


@dataclass(frozen=True, slots=True)
class LegFiles:
    """The files of a source and exchange. `follows_journal`: the compactor's journal tells which of them count.

    `told`: what was read of coverage, by key, for whoever looks at the same files once more.
    """

    output: Store
    layout: Layout
    source: str
    exchange: str
    follows_journal: bool
    told: dict[str, Sequence[CoverageRow]] = field(default_factory=dict)
    _listed: dict[tuple[Leg, str, Selection], list[str]] = field(default_factory=dict)

    def rows(self, leg: Leg, dataset: str, symbol: str, after_ns: int, until_ns: int) -> Sequence[pa.Table]:
        """Return the rows of a symbol that a leg captured in `(after_ns, until_ns]`."""
        return self._of_symbol(
            leg,
            dataset,
            symbol,
            (after_ns, until_ns),
            lambda keys: read_rows(self.output, keys, symbol, after_ns, until_ns),
        )

    def trade_ids(self, leg: Leg, symbol: str, after_ns: int, until_ns: int, wanted: frozenset[str]) -> set[str]:
        """Return which of these trades of a symbol a leg captured in `(after_ns, until_ns]`."""
        return self._of_symbol(
            leg,
            Dataset.TRADES,
            symbol,
            (after_ns, until_ns),
            lambda keys: read_ids(self.output, keys, symbol, after_ns, until_ns, wanted),
        )

    def coverage(self, leg: Leg, until_ns: int) -> Sequence[CoverageRow]:
        """Return all that is told of a leg's holes up to a time: one may have begun long before."""

        def read(keys: Sequence[str]) -> list[CoverageRow]:
            for key in keys:
                if key not in self.told:
                    self.told[key] = read_coverage(self.output, key, self.exchange)
            return [row for key in keys for row in self.told[key] if row.from_ns <= until_ns]

        return self._found(leg, Dataset.COVERAGE, Selection.of(self.exchange), read)

    def anew(self) -> Self:
        """Return the files as they are listed from now on."""
        return replace(self, _listed={})

    def _of_symbol(
        self, leg: Leg, dataset: str, symbol: str, span_ns: tuple[int, int], read: Callable[[Sequence[str]], _Read]
    ) -> _Read:
        """Return what is read of the files that may hold rows of a symbol captured in `(after, until]`."""
        after_ns, until_ns = span_ns
        first, last = (datetime.fromtimestamp(at // _NS, tz=UTC) for at in (after_ns - _NS, until_ns + 2 * _NS))
        hour, its_own = Selection.of(self.exchange, None, first, last), Selection.of(self.exchange, symbol)
        return self._found(
            leg, dataset, hour, lambda keys: read([key for key in keys if its_own.may_hold(key.split("/")[:-1])])
        )

    def _found(self, leg: Leg, dataset: str, selection: Selection, read: Callable[[Sequence[str]], _Read]) -> _Read:
        for _ in range(_LISTINGS_MAX - 1):
            try:
                return read(self._keys(leg, dataset, selection))
            except ObjectNotFoundError:
                del self._listed[leg, dataset, selection]
        return read(self._keys(leg, dataset, selection))

    def _keys(self, leg: Leg, dataset: str, selection: Selection) -> list[str]:
        listed = self._listed.get((leg, dataset, selection))
        if listed is None:
            source = Lane(self.source, self.exchange, f"0of1{leg}").dataset_source
            root = dataset_root(self.layout.processed_dir, source, dataset)

            def is_wanted(partition: str) -> bool:
                directories = [name for name in partition.removeprefix(root).split("/") if name]
                return all("=" in name for name in directories) and selection.may_hold(directories)

            keys = live_keys(self.output, root, follows_journal=self.follows_journal, wanted=is_wanted)
            listed = self._listed[leg, dataset, selection] = list(keys)
        return listed

"""Verification: whether every file of a dataset is what it says, and whether its partition is whole. Reads all rows.

Nothing that stands there ends it: whatever cannot be read or understood is a flaw, and the rest is verified. Nor does
a merge meanwhile: a partition whose files vanish is listed again and verified anew.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from fluxforge.dataset.checks import UNREADABLE, Checked, checked, keys_among
from fluxforge.domain.commit import CommitRecord
from fluxforge.domain.errors import FluxForgeError, NameRefusedError, ObjectNotFoundError
from fluxforge.domain.journal import File, is_output, live
from fluxforge.domain.lane import Lane
from fluxforge.domain.layout import Layout
from fluxforge.domain.partition import key_columns
from fluxforge.ports.store import Store
from fluxforge.runtime.journals import Journals

_ATTEMPTS_MAX: Final = 1_000
_TRIES: Final = 3
_COLLISIONS_MAX: Final = 1_000
"""Hashes of 64 bits do not collide as often: keys that repeat more often do repeat."""
_REPARTITIONED: Final = "fluxforge.repartitioned"


@dataclass(frozen=True, slots=True)
class Flaw:
    """What is wrong with a file or a partition."""

    key: str
    what: str


@dataclass(frozen=True, slots=True)
class _Listing:
    """The files of a partition that count, and the outputs that its journal names; None: it cannot be read."""

    keys: Sequence[str]
    outputs: Mapping[str, File] | None
    flaws: Sequence[Flaw] = ()


@dataclass(frozen=True, slots=True)
class Verification:
    """Verifies partitions of one dataset.

    `commits`: the store of the commit records, which parts are held against; None: they are not. `follows_journal`:
    the files of a merge stand beside each other, and the journal tells which of them count.
    """

    store: Store
    commits: Store | None
    layout: Layout
    dataset: str
    follows_journal: bool

    def flaws(self, partition: str) -> list[Flaw]:
        """Return every flaw of a partition, by its key prefix."""
        for _ in range(_TRIES - 1):
            try:
                return list(self._flaws(partition, is_last=False))
            except ObjectNotFoundError:  # merged meanwhile
                continue
        return list(self._flaws(partition, is_last=True))

    def _flaws(self, partition: str, *, is_last: bool) -> Iterator[Flaw]:
        listing = self._listing(partition)
        yield from listing.flaws
        files = []
        for key in listing.keys:
            try:
                files.append(checked(self.store, key, self.dataset))
            except ObjectNotFoundError:
                if not is_last:
                    raise
                yield Flaw(key, "it is gone")
            except (*UNREADABLE, FluxForgeError) as error:
                yield Flaw(key, f"cannot be read: {_line(error)}")
        for file in files:
            yield from (Flaw(file.key, what) for what in (*file.flaws, *self._origin_flaws(file, listing.outputs)))
        files = [file for file in files if file.keys is not None]
        yield from _schema_flaws(files)
        if not self.follows_journal or listing.outputs is not None:
            yield from self._key_flaws(partition, files)

    def _listing(self, partition: str) -> _Listing:
        try:
            listed = (key[len(partition) + 1 :] for key in self.store.keys(partition))
            names = frozenset(name for name in listed if name.endswith(".parquet") and "/" not in name)
        except FluxForgeError as error:
            return _Listing((), None, [Flaw(partition, f"cannot be listed: {_line(error)}")])
        try:  # after the files, as whoever reads them does
            entries = Journals(self.store).entries(partition)
        except FluxForgeError as error:
            flaw = Flaw(partition, f"its journal cannot be read: {_line(error)}")
            return _Listing([f"{partition}/{name}" for name in sorted(names)], None, [flaw])
        if self.follows_journal:
            names = live(names, entries)
        counting = (entry.claim for entry in entries if entry.settlement is None or entry.is_merged)
        outputs = {file.name: file for claim in counting for file in claim.outputs}
        return _Listing([f"{partition}/{name}" for name in sorted(names)], outputs)

    def _origin_flaws(self, file: Checked, outputs: Mapping[str, File] | None) -> Iterator[str]:
        """Yield how a file differs from what its journal or its commit says of it."""
        name = file.key.rpartition("/")[2]
        if is_output(name):
            if outputs is not None:
                yield from _claim_flaws(file, outputs.get(name))
        elif self.commits is not None and _REPARTITIONED not in file.metadata:
            yield from self._commit_flaws(self.commits, file)

    def _commit_flaws(self, commits: Store, file: Checked) -> Iterator[str]:
        segment = file.metadata.get("fluxforge.segment", "")
        try:
            lane = Lane.parse(file.metadata.get("fluxforge.lane", ""))
        except NameRefusedError:
            yield "it names no lane: not written by FluxForge"
            return
        parts = []
        for layout in (self.layout, self.layout.recomputation()):
            for attempt in range(1, _ATTEMPTS_MAX):
                key = layout.commit_key(lane, segment, attempt)
                try:
                    commit = CommitRecord.from_json(commits.read(key), what=key)
                except ObjectNotFoundError:
                    break
                except FluxForgeError as error:
                    yield f"its commit cannot be read: {_line(error)}"
                    return
                parts += [part for part in commit.parts if part.final_key == file.key]
        if not parts:
            yield f"no commit of {lane} {segment} lists it"
        elif all(_differs(file, part.rows, part.size_bytes, part.sha256) for part in parts):
            last = parts[-1]
            yield f"{last.rows} rows in {last.size_bytes} bytes of sha256 {last.sha256} were committed"

    def _key_flaws(self, partition: str, files: Sequence[Checked]) -> Iterator[Flaw]:
        try:
            repeated = self._repeated(files)
        except ObjectNotFoundError:
            raise
        except (*UNREADABLE, FluxForgeError) as error:
            yield Flaw(partition, f"its keys cannot be read: {_line(error)}")
            return
        if repeated:
            yield Flaw(partition, f"{repeated} rows have the key {', '.join(key_columns(self.dataset))} of another")

    def _repeated(self, files: Iterable[Checked]) -> int:
        """Return how many rows have the key of another."""
        hashed = [(file.key, file.keys) for file in files if file.keys is not None]
        if not hashed:
            return 0
        hashes = np.sort(np.concatenate([keys for _, keys in hashed]))
        again = hashes[1:][hashes[1:] == hashes[:-1]]
        alike = np.unique(again)
        if not 0 < len(alike) <= _COLLISIONS_MAX:
            return len(again)
        found = [keys_among(self.store, key, self.dataset, alike) for key, keys in hashed if np.isin(keys, alike).any()]
        rows = pl.concat(found)
        return rows.height - rows.n_unique()


def _claim_flaws(file: Checked, output: File | None) -> Iterator[str]:
    if output is None:
        yield "no claim in its partition's journal names it"
    elif _differs(file, output.rows, output.size_bytes, output.sha256):
        yield f"{output.rows} rows in {output.size_bytes} bytes of sha256 {output.sha256} were claimed"


def _schema_flaws(files: Sequence[Checked]) -> Iterator[Flaw]:
    for file in files[1:]:
        if not file.schema.equals(files[0].schema):
            yield Flaw(file.key, f"its columns are not those of {files[0].key}")


def _differs(file: Checked, rows: int, size_bytes: int, sha256: str | None) -> bool:
    return (file.rows, file.size_bytes, file.sha256) != (rows, size_bytes, sha256)


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]

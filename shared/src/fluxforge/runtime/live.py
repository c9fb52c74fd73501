"""Live files: those of a dataset that hold its rows now."""

from collections.abc import Callable, Iterator
from typing import Final

from fluxforge.domain.journal import live
from fluxforge.domain.layout import JOURNAL
from fluxforge.ports.store import Store
from fluxforge.runtime.journals import Journals

_SUFFIX: Final = ".parquet"


def live_keys(
    store: Store, prefix: str, *, follows_journal: bool, wanted: Callable[[str], bool] = lambda _: True
) -> Iterator[str]:
    """Yield the keys of the files at or below a prefix whose rows count, each partition's together.

    `follows_journal`: the files of a merge stand beside each other, and the journal tells which of them count; on a
    disk the directory alone does. `wanted`: of which partitions, by their key prefixes; of others no journal is read.

    Raises:
        ManifestError: A journal cannot be read.
    """
    partitions: dict[str, list[str]] = {}
    for key in store.keys(prefix):
        if key.endswith(_SUFFIX):
            partition, _, name = key.rpartition("/")
            if partition in partitions or wanted(partition):
                partitions.setdefault(partition, []).append(name)
    if follows_journal:
        # Listed after the files: what was merged since is told by the journal, and what it names is read.
        merging = {key.rpartition("/")[0].removeprefix(f"{JOURNAL}/") for key in store.keys(f"{JOURNAL}/{prefix}")}
        journals = Journals(store)
        for partition in merging & partitions.keys():
            partitions[partition] = sorted(live(partitions[partition], journals.entries(partition)))
    for partition in sorted(partitions):
        yield from (f"{partition}/{name}" for name in partitions[partition])

"""A folder of sealed segments to be processed again and again, and what must come of it."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from fluxforge.adapters.local_store import LocalStore
from fluxforge.domain.commit import CommitRecord
from tests.faults.disk.sealing import nothing_half_written
from tests.unit.fluxforge_etl_worker.samples import LANE, placed_rows, sealed, stored
from tests.unit.fluxforge_etl_worker.stories import DATASETS, long_story

_LINES = 160
_CHANNELS = ("ticker", "trades", "orderbook")
Rows = dict[str, Counter[str]]


@dataclass
class Committing:
    """Where the configuration stands, which is on a disk that does not fail, and the rows of a run without faults."""

    folder: Path
    wanted: Rows = field(default_factory=dict)

    @property
    def config(self) -> Path:
        """The configuration of the present data directory."""
        return self.folder / "etl.yaml"

    def renew(self, data: Path) -> None:
        """Put two segments, the second of which builds on the first, into a new data directory."""
        store = LocalStore(data)
        lines = long_story(_LINES).lines
        for segment in sealed(lines, [len(lines) // 2]):
            stored(store, segment.body, segment.manifest)
        location = {"backend": "local", "base_dir": str(data)}
        tree = {
            "storage": {"scratch_dir": str(data), "etl_storage_input": location, "etl_storage_output": location},
            # Few columns, few parts: a part takes the same calls as any other.
            "etl": {
                "delete_after_processing": True,
                "channels": {name: {"partition_cols": ["exchange"]} for name in _CHANNELS},
            },
            "ccxt": {"exchanges": {}},
        }
        self.config.write_text(yaml.safe_dump(tree))

    def judge(self, data: Path) -> None:
        """Assert that every row stands once, under commits that tell the truth, and that nothing else was left."""
        store = LocalStore(data)
        rows = rows_of(store)
        if not self.wanted:
            self.wanted = rows
            assert all(sum(found.values()) > 3 for found in rows.values())
        assert rows == self.wanted
        commits = [_commit(path) for path in sorted((data / "commits" / str(LANE)).glob("*.json"))]
        assert len({commit.segment for commit in commits}) == 2
        standing = {path.relative_to(data).as_posix() for path in (data / "processed").rglob("*") if path.is_file()}
        assert standing == {part.final_key for commit in commits for part in commit.parts}
        for commit in commits:
            assert (data / "commits" / str(LANE) / f"{commit.segment}.placed").exists()
            assert all((data / part.final_key).stat().st_size == part.size_bytes for part in commit.parts)
        assert not list((data / "raw").rglob("*.ndjson"))
        assert not list((data / "dead").rglob("*")) if (data / "dead").exists() else True
        nothing_half_written(data)


def rows_of(store: LocalStore) -> Rows:
    """Return how often each row stands, by dataset."""
    return {dataset: Counter(map(_text, placed_rows(store, dataset))) for dataset in DATASETS}


def _text(row: dict[str, Any]) -> str:
    return repr(sorted(row.items()))


def _commit(path: Path) -> CommitRecord:
    return CommitRecord.from_json(path.read_bytes(), what=path.name)

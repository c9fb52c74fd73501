"""Every flaw of a file or a partition, made by tampering with a whole dataset."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typing_extensions import override

from fluxforge.adapters.local_store import LocalStore
from fluxforge.dataset import Datasets, checks
from fluxforge.dataset.verify import Verification
from fluxforge.domain.layout import Layout, claim_key, settlement_key
from fluxforge.runtime.journals import Journals
from tests.unit.fluxforge_cli.account.audit.world import World, books, started, stopped, tickers
from tests.unit.fluxforge_cli.account.audit.world import trades as trade_lines
from tests.unit.fluxforge_compactor import world as compacted
from tests.unit.fluxforge_compactor.world import PARTITION, trades


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.seal(started(), books(1, 10), trade_lines(1, 3), tickers(1, 4))
    world.seal(books(11, 30), trade_lines(4, 5), tickers(5, 6), stopped(2))
    world.forge()
    return world


def flaws(world: World, dataset: str = "trades") -> list[str]:
    found = Datasets.at(world.base).verify(dataset, commits=LocalStore(world.base))
    return [f"{Path(flaw.key).name}: {flaw.what}" for flaw in found]


def rewritten(path: Path, table: pa.Table, **told: str) -> None:
    """Replace a file by one with other rows, or that says something else of itself."""
    said = {key.decode(): value.decode() for key, value in pq.read_metadata(path).metadata.items()}
    said = {key: value for key, value in said.items() if key.startswith("fluxforge.")}
    with pq.ParquetWriter(path, table.schema.remove_metadata()) as writer:
        writer.write_table(table.replace_schema_metadata(None))
        writer.add_key_value_metadata({**said, **{f"fluxforge.{key}": value for key, value in told.items()}})


def rows_of(path: Path) -> pa.Table:
    return pq.ParquetFile(path).read()


def test_a_whole_dataset_has_none(world: World) -> None:
    for dataset in ("trades", "ticker", "books", "hf", "bars", "coverage"):
        assert flaws(world, dataset) == []


def test_a_torn_file_is_named_and_the_others_are_read(world: World) -> None:
    path = world.part("trades", world.manifests[0])
    path.write_bytes(path.read_bytes()[:-100])
    (flaw,) = flaws(world)
    assert flaw.startswith(f"{path.name}: cannot be read")


def test_damage_in_any_column_is_found(world: World) -> None:
    path = world.part("trades", world.manifests[0])
    column = pq.read_metadata(path).row_group(0).column(rows_of(path).schema.get_field_index("price"))
    body = bytearray(path.read_bytes())
    begin = column.data_page_offset
    body[begin : begin + column.total_compressed_size] = bytes(column.total_compressed_size)
    path.write_bytes(body)
    (flaw,) = flaws(world)
    assert "cannot be read" in flaw


def test_rows_out_of_order_and_a_count_that_is_not_told_are_named(world: World) -> None:
    path = world.part("trades", world.manifests[0])
    table = rows_of(path)
    rewritten(path, table.take(list(reversed(range(table.num_rows)))), rows="7")
    found = flaws(world)
    assert f"{path.name}: it says 7 rows and has 6" in found
    assert any("not in the order of ts, capture_ns, seq, idx, symbol" in flaw for flaw in found)
    assert any("were committed" in flaw for flaw in found)


def test_a_part_that_stands_twice_repeats_keys_and_no_commit_lists_it(world: World) -> None:
    path = world.part("trades", world.manifests[0])
    path.with_name("part_again.parquet").write_bytes(path.read_bytes())
    found = flaws(world)
    assert "part_again.parquet: no commit of ccxt-binance-0of1 segment_20261118T12_00001 lists it" in found
    assert any("6 rows have the key exchange, market, boot, seq, idx of another" in flaw for flaw in found)


def test_what_stands_in_a_foreign_partition_is_named(world: World) -> None:
    path = world.part("trades", world.manifests[0])
    elsewhere = path.parents[2] / "symbol=ETH-USDT" / "date=2020-01-01" / path.name
    elsewhere.parent.mkdir(parents=True)
    path.rename(elsewhere)
    found = flaws(world)
    assert f"{path.name}: 6 rows are not of symbol ETH-USDT" in found
    assert f"{path.name}: 6 rows are not of 2020-01-01" in found


def test_other_columns_in_one_partition_are_named(world: World) -> None:
    path = world.part("trades", world.manifests[1])
    table = rows_of(path)
    rewritten(path, table.append_column("more", pa.nulls(table.num_rows, pa.int32())), dataset="ticker")
    found = flaws(world)
    assert any(flaw.startswith(f"{path.name}: its columns are not those of") for flaw in found)
    assert f"{path.name}: it is of dataset 'ticker', expected 'trades'" in found


def test_other_peoples_files_are_named_and_the_rest_is_verified(world: World) -> None:
    path = world.part("trades", world.manifests[0])
    table = rows_of(path)
    pq.write_table(pa.table({"x": [1]}), path.with_name("a_foreign.parquet"))
    texts = table.set_column(table.column_names.index("ts"), "ts", table.column("ts").cast(pa.string()))
    pq.write_table(texts, path.with_name("b_texts.parquet"))
    pq.write_table(
        pa.Table.from_arrays([*table.columns, table["seq"]], [*table.column_names, "seq"]),
        path.with_name("c_twice.parquet"),
    )
    rewritten(path, table, rows="7")
    found = flaws(world)
    assert (
        "a_foreign.parquet: it has no column exchange, symbol, ts, market, boot, seq, idx: not written by FluxForge"
        in found
    )
    assert "b_texts.parquet: its column ts is string, expected a timestamp" in found
    assert "c_twice.parquet: its columns seq stand twice: not written by FluxForge" in found
    assert "a_foreign.parquet: it names no lane: not written by FluxForge" in found
    assert f"{path.name}: it says 7 rows and has 6" in found


def test_a_date_that_is_none_is_named(world: World) -> None:
    path = world.part("trades", world.manifests[0])
    elsewhere = path.parents[1] / "date=soon" / path.name
    elsewhere.parent.mkdir()
    path.rename(elsewhere)
    assert f"{path.name}: it stands in date=soon, which is no date" in flaws(world)


def test_a_commit_that_cannot_be_read_is_a_flaw_and_the_others_are_held_against_theirs(world: World) -> None:
    first, second = (world.part("trades", manifest) for manifest in world.manifests)
    world.commit_path(world.manifests[0]).write_bytes(b"{}")
    rewritten(second, rows_of(second).slice(0, 3), rows="3")
    found = flaws(world)
    assert any(flaw.startswith(f"{first.name}: its commit cannot be read: ") for flaw in found)
    assert any(flaw.startswith(f"{second.name}: 4 rows in ") and flaw.endswith(" were committed") for flaw in found)
    assert len(found) == 2


def test_bytes_that_changed_and_can_still_be_read_are_named(world: World) -> None:
    path = world.part("trades", world.manifests[0])
    body = path.read_bytes()
    at = body.index(b"fluxforge.feature_version")
    path.write_bytes(body[:at] + b"F" + body[at + 1 :])
    (flaw,) = flaws(world)
    assert "were committed" in flaw


def test_a_repartitioned_file_is_of_no_segment_and_everything_else_of_it_is_checked(world: World) -> None:
    path = world.part("trades", world.manifests[0])
    table = rows_of(path)
    rewritten(path, table, repartitioned="1")
    path.rename(path.with_name("part_ab_1.parquet"))
    assert flaws(world) == []
    rewritten(path.with_name("part_ab_1.parquet"), table.take(list(reversed(range(table.num_rows)))))
    assert any("not in the order of" in flaw for flaw in flaws(world))


def test_order_is_checked_across_row_groups(world: World) -> None:
    path = world.part("trades", world.manifests[0])
    table = rows_of(path)
    half = table.num_rows // 2
    with pq.ParquetWriter(path, table.schema) as writer:
        for rows in (table.slice(half), table.slice(0, half)):
            writer.write_table(rows)
    assert any("not in the order of" in flaw for flaw in flaws(world))


def test_hashes_that_collide_are_no_keys_that_repeat(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def few(frame: pl.DataFrame, *, seed: int) -> pl.Series:
        return pl.Series(np.arange(frame.height, dtype=np.uint64) % 2 + seed % 2)

    monkeypatch.setattr(pl.DataFrame, "hash_rows", few)
    assert flaws(world) == []
    path = world.part("trades", world.manifests[0])
    path.with_name("part_again.parquet").write_bytes(path.read_bytes())
    assert any("6 rows have the key" in flaw for flaw in flaws(world))


@pytest.fixture(params=compacted.KINDS)
def merged(request: pytest.FixtureRequest, tmp_path: Path) -> compacted.World:
    return merged_of(tmp_path / "merged", request.param)


def merged_of(folder: Path, kind: str) -> compacted.World:
    """Return a partition whose parts were merged, without their commits."""
    made = compacted.World(folder, kind)
    for number in (1, 2, 3):
        made.put(number, trades(number * 100, 100))
    assert made.compactor().compact(PARTITION).merges
    return made


def verified(world: compacted.World, store: LocalStore | None = None) -> list[str]:
    verification = Verification(store or world.output, None, Layout(), "trades", world.kind == "stored")
    return [f"{Path(flaw.key).name}: {flaw.what}" for flaw in verification.flaws(PARTITION)]


def test_what_was_merged_is_held_against_its_claim(merged: compacted.World) -> None:
    assert verified(merged) == []
    (name,) = merged.names()
    path = merged.place / name
    body = path.read_bytes()
    at = body.index(b"fluxforge.feature_version")
    path.write_bytes(body[:at] + b"F" + body[at + 1 :])
    (flaw,) = verified(merged)
    assert flaw.startswith(f"{name}: 300 rows in {len(body)} bytes of sha256 ")
    assert flaw.endswith(" were claimed")


def test_an_output_that_no_claim_names_is_a_flaw(tmp_path: Path) -> None:
    world = compacted.World(tmp_path, "local")
    name = world.put(1, trades(1, 10))
    (world.place / name).rename(world.place / "merged_ab_00001.parquet")
    assert verified(world) == ["merged_ab_00001.parquet: no claim in its partition's journal names it"]


def test_an_edit_may_leave_other_rows_and_a_claim_that_is_not_settled_counts(merged: compacted.World) -> None:
    (name,) = merged.names()
    (entry,) = Journals(merged.output).entries(PARTITION)
    assert entry.claim.output is not None
    parents = tuple(replace(file, rows=999) for file in entry.claim.parents)
    edit = replace(entry.claim, parents=parents, reason="delete")
    (merged.folder / "out" / claim_key(PARTITION, 1)).write_bytes(edit.to_json())
    assert verified(merged) == []
    if merged.kind == "local":
        merged.output.delete(settlement_key(PARTITION, 1))
        assert verified(merged) == []
    assert name in merged.names()


@pytest.mark.parametrize("torn", [claim_key(PARTITION, 1), settlement_key(PARTITION, 1)])
def test_a_journal_that_cannot_be_read_is_a_flaw_and_files_are_read_nevertheless(
    merged: compacted.World, torn: str
) -> None:
    (merged.folder / "out" / torn).write_bytes(b"torn")
    (merged.place / "part_torn.parquet").write_bytes(b"torn")
    journal, file = verified(merged)
    assert journal.startswith("date=2025-12-09: its journal cannot be read: ")
    assert file.startswith("part_torn.parquet: cannot be read: ")


@dataclass
class Overtaking(LocalStore):
    """Merges what stands in the partition each time after it was listed, some times."""

    world: compacted.World
    times: int
    parts: Iterator[int] = field(default_factory=lambda: iter(range(4, 100)))

    def __post_init__(self) -> None:
        super().__init__(self.world.folder / "out", sync=False)

    @override
    def keys(self, prefix: str) -> Iterator[str]:
        listed = list(super().keys(prefix))
        if prefix == PARTITION and self.times:
            self.times -= 1
            number = next(self.parts)
            self.world.put(number, trades(number * 100, 100))
            assert self.world.compactor(grace_s=0).compact(PARTITION).merges
            self.world.compactor(grace_s=0).compact(PARTITION)
        yield from listed


@pytest.mark.parametrize("merges", [1, 2])
def test_what_was_merged_meanwhile_is_verified_anew(merged: compacted.World, merges: int) -> None:
    assert verified(merged, Overtaking(merged, merges)) == []


def test_what_is_gone_whenever_it_is_looked_for_is_a_flaw_in_the_end(tmp_path: Path) -> None:
    world = merged_of(tmp_path, "local")
    store = Overtaking(world, 50)
    found = verified(world, store)
    assert 50 - store.times == 3
    assert found
    assert all(flaw.endswith("it is gone") for flaw in found)
    world = merged_of(tmp_path / "other", "stored")
    (name,) = world.names()
    (world.place / name).unlink()
    assert verified(world) == [f"{name}: it is gone"]


def test_rows_of_a_large_file_are_not_held(merged: compacted.World, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    real = checks._frame

    def frame(piece: pa.RecordBatch) -> pl.DataFrame:
        seen.append(piece.num_rows)
        return real(piece)

    monkeypatch.setattr(checks, "_frame", frame)
    monkeypatch.setattr(checks, "_PIECE_ROWS", 64)
    monkeypatch.setattr(checks, "_PIECE_BYTES", 1000)
    assert verified(merged) == []
    assert sum(seen) == 300
    assert max(seen) <= 64

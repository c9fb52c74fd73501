"""Compaction on a real S3 server: scans, queries and audits follow the journal, and are exact at every moment."""

import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fluxforge.adapters.embedded_s3 import EmbeddedS3
from fluxforge.adapters.s3 import S3Store
from fluxforge.adapters.stores import open_store
from fluxforge.dataset import Datasets
from fluxforge.runtime.settings import Settings, StoreLocation
from fluxforge_cli.account.audit.close import close
from fluxforge_cli.account.audit.take import take
from fluxforge_cli.datasets import open_datasets
from fluxforge_cli.stores import processed_files
from fluxforge_compactor.compact import Compactor
from fluxforge_compactor.main import compactor_of
from fluxforge_compactor.settings import CompactorSettings
from fluxforge_etl_worker.folder import run_folder
from tests.unit.fluxforge_cli.account.audit.world import World, books, started, stopped, tickers, trades

pytestmark = pytest.mark.timeout(300)


def on_s3(world: World, server: EmbeddedS3) -> Settings:
    """Return the settings of a world whose datasets are on S3."""
    there = server.options()
    location = StoreLocation.model_validate(
        {
            "backend": "s3",
            "s3": {
                "bucket": there.bucket,
                "prefix": f"test-{secrets.token_hex(4)}",
                "endpoint_url": there.endpoint_url,
                "access_key_id": there.access_key_id,
                "secret_access_key": there.secret_access_key,
            },
        }
    )
    storage = world.settings.storage.model_copy(update={"etl_storage_output": location})
    return world.settings.model_copy(update={"storage": storage})


def trade_seqs(settings: Settings) -> tuple[Counter[int], Counter[int]]:
    """Return the seqs of all trades by the library and by SQL."""
    scanned = Datasets.of(settings).scan("trades", columns=["seq"]).collect()["seq"]
    rows = open_datasets(processed_files(settings)).execute("SELECT seq FROM trades").fetchall()
    return Counter(scanned), Counter(seq for (seq,) in rows)


def three_parts(folder: Path, server: EmbeddedS3) -> Settings:
    """Return the settings of datasets on S3 of three segments; trades have the seqs 1 to 9, twice each."""
    world = World(folder)
    settings = on_s3(world, server)
    world.seal(started(), books(1, 10), trades(1, 3), tickers(1, 4))
    world.seal(books(11, 30), trades(4, 5), tickers(5, 6))
    world.seal(books(31, 40), trades(6, 9), stopped(2))
    assert run_folder(settings).processed == 3
    return settings


EXPECTED = Counter(seq for seq in range(1, 10) for _ in range(2))


def merging(settings: Settings, *, grace_s: int) -> Compactor:
    """Return a compactor that merges at once."""
    own = CompactorSettings.of(settings)
    policy = replace(own.policy, quiet_ns=0, grace_ns=grace_s * 1_000_000_000)
    compactor, partitions = compactor_of(settings, replace(own, policy=policy))
    partitions.probe()
    return compactor


def test_files_are_merged_and_every_reader_of_the_journal_is_exact(tmp_path: Path, s3_server: EmbeddedS3) -> None:
    settings = three_parts(tmp_path, s3_server)
    compactor = merging(settings, grace_s=3600)
    merges = sum(len(compactor.compact(partition).merges) for partition in compactor.partitions("processed"))
    assert merges >= 5

    store = open_store(settings.storage.etl_storage_output)
    keys = [key for key in store.keys("processed/ccxt/trades") if key.endswith(".parquet")]
    assert len(keys) == 4, "in their grace the merged files still stand beside what they became"
    assert trade_seqs(settings) == (EXPECTED, EXPECTED)
    assert close(take(settings, deep=True)).findings == ()

    compactor = merging(settings, grace_s=0)
    for partition in compactor.partitions("processed"):
        compactor.compact(partition)
    keys = [key for key in store.keys("processed/ccxt/trades") if key.endswith(".parquet")]
    assert len(keys) == 1
    assert trade_seqs(settings) == (EXPECTED, EXPECTED)
    assert close(take(settings, deep=True)).findings == ()


def watched(watch: Callable[[str], None], name: str, real: Callable[..., None]) -> Callable[..., None]:
    """Return a method of a store with a moment before and after it."""

    def method(store: S3Store, key: str, *arguments: object) -> None:
        watch(f"before {name} {key}")
        real(store, key, *arguments)
        watch(f"after {name} {key}")

    return method


def test_a_reader_is_exact_at_every_step_of_a_merge(
    tmp_path: Path, s3_server: EmbeddedS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = three_parts(tmp_path, s3_server)
    compactor, clearing = merging(settings, grace_s=3600), merging(settings, grace_s=0)
    (partition,) = compactor.partitions("processed/ccxt/trades")
    begun = Datasets.of(settings).scan("trades", columns=["seq"])
    steps: list[str] = []

    def look(step: str) -> None:
        steps.append(step)
        assert trade_seqs(settings) == (EXPECTED, EXPECTED), step

    for name in ("create", "adopt", "delete"):
        monkeypatch.setattr(S3Store, name, watched(look, name, getattr(S3Store, name)))
    assert len(compactor.compact(partition).merges) == 1
    assert [step.split()[1] for step in steps if step.startswith("after")] == ["create", "adopt", "create"], steps
    assert Counter(begun.collect()["seq"]) == EXPECTED, "parents stay for those that began before"
    clearing.compact(partition)
    deleted = [step for step in steps if step.startswith("after delete processed/")]
    assert len(deleted) == 3
    assert trade_seqs(settings) == (EXPECTED, EXPECTED)
    assert list(Datasets.of(settings).verify("trades")) == []

"""The whole system on S3 and mixed: what was made up stands in Parquet once, also when the server dies meanwhile."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from fluxforge.adapters.embedded_s3 import EmbeddedS3, running_s3
from fluxforge.adapters.s3 import S3Store
from tests.faults.oracle import drained, judge
from tests.faults.plant import Plant, numbered, running_plant
from tests.s3_server import need_s3

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

KINDS = {"on S3": ("s3", "s3"), "segments on disk, Parquet on S3": ("local", "s3")}


def location(server: EmbeddedS3) -> dict[str, Any]:
    options = server.options()
    return {
        "backend": "s3",
        "s3": {
            "bucket": options.bucket,
            "prefix": "here",
            "endpoint_url": options.endpoint_url,
            "access_key_id": options.access_key_id,
            "secret_access_key": options.secret_access_key,
        },
    }


@asynccontextmanager
async def working(base: Path, server: EmbeddedS3, kind: str) -> AsyncIterator[Plant]:
    """Run a system on S3; drained, audited and judged at the end."""
    places = {"s3": location(server), "local": {"backend": "local", "base_dir": str(base)}}
    raw, output = (places[name] for name in KINDS[kind])
    storage = {"ingestion_storage": raw, "etl_storage_input": raw, "etl_storage_output": output}
    async with running_plant(base, numbered(base, "steady"), storage=storage) as plant:
        for service in (plant.segmenter(), plant.etl(), plant.collector("steady")):
            await service.start()
        for service in plant.services.values():
            await service.until_ready()
        yield plant
        await drained(plant)
        download(server, base)
    verdict = judge(plant)
    assert verdict.made > 0
    assert verdict.is_whole, verdict


def download(server: EmbeddedS3, base: Path) -> None:
    """Put the datasets where the judge reads them."""
    store = S3Store(server.options("here"))
    for key in store.keys("processed"):
        path = base / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(store.read(key))
    assert list(store.keys(".tmp")) == []


async def until_sealed(plant: Plant, segments: int) -> None:
    before = len(plant.sealed())

    async def is_sealed() -> bool:
        return len(plant.sealed()) >= before + segments

    await plant.until(is_sealed)


@pytest.fixture
def server(tmp_path: Path) -> Any:
    need_s3()
    with running_s3(tmp_path / "s3") as running:
        yield running


@pytest.mark.parametrize("kind", KINDS)
async def test_what_was_captured_stands_in_parquet_once(tmp_path: Path, server: EmbeddedS3, kind: str) -> None:
    async with working(tmp_path / "data", server, kind) as plant:
        await until_sealed(plant, 3)


async def test_a_server_that_dies_is_waited_for_and_nothing_is_lost(tmp_path: Path, server: EmbeddedS3) -> None:
    async with working(tmp_path / "data", server, "on S3") as plant:
        for _ in range(2):
            await until_sealed(plant, 2)
            server.kill()
            for name in ("segmenter", "etl"):
                assert await plant.services[name].until_logged((b'"operation.retried"',))
            server.start()
        await until_sealed(plant, 2)

"""A worker that takes the segments of a folder in an order of its own: `python -m tests.integration.etl.shuffled`."""

import sys
from pathlib import Path
from random import Random

from fluxforge.domain.segment import Manifest
from fluxforge.runtime.settings import load
from fluxforge_etl_worker.main import worker_of


def main(config: str, seed: str) -> None:
    settings = load(Path(config))
    worker = worker_of(settings)
    ready = Path(settings.storage.etl_storage_input.base_dir) / "raw" / "ready"
    manifests = [Manifest.from_json(path.read_bytes()) for path in sorted(ready.rglob("*.manifest.json"))]
    for manifest in Random(seed).sample(manifests, len(manifests)):
        worker.process(manifest.lane, manifest.name)


if __name__ == "__main__":
    main(*sys.argv[1:])

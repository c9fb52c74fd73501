"""Workers side by side over one lane: wall seconds from when all processes stand until the last segment is placed.

`python -m benchmarks.workers <config> <processes>` prints them, and behind them those of each segment. Workers live
long; what starting one takes is in the other tables.
"""

import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pyarrow as pa

from benchmarks.segments import LANE
from fluxforge.runtime.settings import load
from fluxforge_etl_worker.main import worker_of
from fluxforge_etl_worker.work import Worker

_worker: Worker
_all_there: Barrier


def begin(config: Path, barrier: Barrier) -> None:
    global _worker, _all_there  # a process pool has no other place for what its processes hold
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    _worker, _all_there = worker_of(load(config)), barrier


def stand(_: int) -> None:
    _all_there.wait(60)


def process(segment: str) -> float:
    began_s = time.perf_counter()
    assert _worker.process(LANE, segment).forged
    return time.perf_counter() - began_s


def main() -> None:
    config, processes = Path(sys.argv[1]), int(sys.argv[2])
    ready = config.parent / "raw/ready" / LANE.folder
    segments = sorted(path.stem for path in ready.glob("*.ndjson"))
    context = multiprocessing.get_context("spawn")
    arguments = (config, context.Barrier(processes))
    with ProcessPoolExecutor(processes, mp_context=context, initializer=begin, initargs=arguments) as pool:
        list(pool.map(stand, range(processes)))
        began_s = time.perf_counter()
        services_s = list(pool.map(process, segments))  # as `etl run` shares them out: whoever is free takes the next
        print(time.perf_counter() - began_s, *services_s)


if __name__ == "__main__":
    main()

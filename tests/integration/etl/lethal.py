"""`python -m tests.integration.etl.lethal`: an ETL worker whose segments can be told to kill it, or to wait.

A file `lethal/<segment>` in the data directory: working on that segment kills the process. A file `slow/<segment>`:
the process writes its pid to `working/<pid>` and works on until the file is gone. A file `late/<segment>`: likewise,
when all parts are written and the commit record is about to be.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from typing_extensions import override

from fluxforge.domain.commit import CommitRecord
from fluxforge.domain.lane import Lane
from fluxforge_etl_worker import main as product
from fluxforge_etl_worker.attempts import Attempts
from fluxforge_etl_worker.work import Outcome, Worker

DATA = Path(os.environ["FLUXFORGE__STORAGE__ETL_STORAGE_INPUT__BASE_DIR"])


def wait_for_the_end_of(path: Path) -> None:
    folder = DATA / "working"
    folder.mkdir(exist_ok=True)
    (folder / str(os.getpid())).touch()
    asyncio.run(_gone(path))


async def _gone(path: Path) -> None:
    while path.exists():  # noqa: ASYNC110, ASYNC240 - the condition is a file's state
        await asyncio.sleep(0.05)


class LateAttempts(Attempts):
    @override
    def commit(self, lane: Lane, commit: CommitRecord) -> bool:
        if (late := DATA / "late" / commit.segment).exists():
            wait_for_the_end_of(late)
        return super().commit(lane, commit)


class LethalWorker(Worker):
    @property
    @override
    def attempts(self) -> Attempts:
        return LateAttempts(self.raw, self.output, self.options.layout)

    @override
    def process(self, lane: Lane, segment: str) -> Outcome:
        if (DATA / "lethal" / segment).exists():
            os.kill(os.getpid(), signal.SIGKILL)
        if (slow := DATA / "slow" / segment).exists():
            wait_for_the_end_of(slow)
        return super().process(lane, segment)


if __name__ == "__main__":
    product.Worker = LethalWorker  # type: ignore[misc]
    sys.exit(product.main())

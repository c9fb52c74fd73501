"""`python -m tests.integration.etl.lethal`: an ETL worker whose segments can be told to kill it, or to wait.

A file `lethal/<segment>` in the data directory: working on that segment kills the process. A file `slow/<segment>`:
the process writes its pid to `working/<pid>` and works on until the file is gone.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import ClassVar

from typing_extensions import override

from fluxforge.domain.lane import Lane
from fluxforge_etl_worker import main as product
from fluxforge_etl_worker.work import Outcome, Worker


class LethalWorker(Worker):
    data: ClassVar[Path] = Path(os.environ["FLUXFORGE__STORAGE__ETL_STORAGE_INPUT__BASE_DIR"])

    @override
    def process(self, lane: Lane, segment: str) -> Outcome:
        if (self.data / "lethal" / segment).exists():
            os.kill(os.getpid(), signal.SIGKILL)
        if (slow := self.data / "slow" / segment).exists():
            folder = self.data / "working"
            folder.mkdir(exist_ok=True)
            (folder / str(os.getpid())).touch()
            asyncio.run(self._wait(slow))
        return super().process(lane, segment)

    async def _wait(self, slow: Path) -> None:
        while slow.exists():  # noqa: ASYNC110, ASYNC240 - the condition is a file's state
            await asyncio.sleep(0.05)


if __name__ == "__main__":
    product.Worker = LethalWorker  # type: ignore[misc]
    sys.exit(product.main())

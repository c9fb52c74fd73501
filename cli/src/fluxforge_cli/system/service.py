"""Services: children that are kept alive. One that ends by itself is started again with backoff, until the drain.

A child that refuses its configuration (exit code 2) would refuse it again: it is not started again but reported.
"""

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import Final

from fluxforge.domain.backoff import Backoff
from fluxforge.domain.errors import UsageError
from fluxforge.domain.status import Status
from fluxforge.runtime.lifecycle import ExitCode
from fluxforge_cli.system.child import Child, Ended
from fluxforge_cli.system.plan import ServicePlan

_BACKOFF: Final = Backoff(base_s=1.0, cap_s=30.0)
_STEADY_S: Final = 60.0


class ServiceRefusedError(UsageError):
    """A service refused its configuration; `reason` is its own message."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason


class Service:
    """One process of the plan, through all its lives. `say` takes a line for the person who watches."""

    def __init__(self, plan: ServicePlan, log: Path, say: Callable[[str], None]) -> None:
        self.plan = plan
        self.lives: list[Ended] = []
        self._log = log
        self._say = say
        self._child: Child | None = None
        self._draining = asyncio.Event()
        self._over = asyncio.Event()

    @property
    def restarts(self) -> int:
        """How often it was started again."""
        return max(0, len(self.lives) - (0 if self._child else 1))

    def final_statuses(self) -> list[Status]:
        """Return what its lives said at their end."""
        return [life.status for life in self.lives if life.status is not None]

    def unexplained(self) -> list[Ended]:
        """Return the lives that ended without their final status."""
        return [life for life in self.lives if life.status is None]

    async def keep(self) -> None:
        """Run it until it is drained.

        Raises:
            ServiceRefusedError: It refused its configuration.
        """
        loop = asyncio.get_running_loop()
        failures = 0
        try:
            while not self._draining.is_set():
                born_s = loop.time()
                self._child = await Child.start(self.plan, self._log)
                if self._draining.is_set():
                    self._child.drain()
                ended = await self._child.ended()
                self._child = None
                self.lives.append(ended)
                if ended.code == ExitCode.USAGE:
                    raise ServiceRefusedError(self.plan.name, ended.reason)
                failures = 1 if loop.time() - born_s > _STEADY_S else failures + 1
                await self._pause(ended, failures)
        finally:
            if self._child:
                self._child.kill()
            self._over.set()

    async def _pause(self, ended: Ended, failures: int) -> None:
        if self._draining.is_set():
            if ended.code:
                self._say(f"{self.plan.name} ended its drain with {ended.code}: {ended.reason}")
            return
        delay_s = _BACKOFF.delay_s(failures, random.random)
        why = f": {ended.reason}" if ended.reason else ""
        self._say(f"{self.plan.name} ended with {ended.code}{why}; starting it again in {delay_s:.1f} s")
        try:
            async with asyncio.timeout(delay_s):
                await self._draining.wait()
        except TimeoutError:
            return

    def reload(self) -> None:
        """Have it read its configuration again; one that does not run reads it when it starts."""
        if self._child:
            self._child.reload()

    async def drain(self, *, deadline_s: float) -> bool:
        """Let it finish what it has; return whether it ended by itself before the deadline, else it is killed."""
        self._draining.set()
        if self._child:
            self._child.drain()
        try:
            async with asyncio.timeout(deadline_s):
                await self._over.wait()
        except TimeoutError:
            self._say(f"{self.plan.name} did not end within {deadline_s:.0f} s of its drain: killed")
            if self._child:
                self._child.kill()
            await self._over.wait()
            return False
        return True

"""A simulated event loop: virtual time, a seeded schedule, and processes that can be killed, stopped and continued.

Every step of every task is a point at which its process can die. A process that died is never stepped again, and
whatever of it is still on some stack is refused by the world (`KilledError`). Nothing waits: time jumps to the next
timer.
"""

import asyncio
import contextlib
import heapq
import inspect
import os
import random
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextvars import ContextVar, copy_context
from functools import partial
from pathlib import Path
from typing import Any

STEP_S_MAX = 0.0002
CALL_S_MAX = 0.002
STEPS_MAX = 300_000
PAUSES = 0.3


class KilledError(BaseException):
    """The process does not exist any more: whatever its code tries to do, the world refuses."""


class HungError(Exception):
    """Nothing is left that could ever happen, or what should have ended goes on and on."""


class Process:
    """Tasks that live and die together. `host` is whose disk it uses."""

    def __init__(self, name: str, host: str) -> None:
        self.name = name
        self.host = host
        self.is_dead = False
        self.is_stopped = False
        self.steps = 0
        self.tasks: list[asyncio.Task[Any]] = []
        self.parked: list[asyncio.Handle] = []
        self.on_death: list[Callable[[], object]] = []
        self.on_step: list[Callable[[], object]] = []
        self.main: asyncio.Task[Any] | None = None
        self.descriptors: set[int] = set()
        self.written: set[Path] = set()
        """The files it opened to write."""
        self.doomed_in: int | None = None
        """Moments (steps, and disk operations within them) until it dies; None: it lives."""

    def __repr__(self) -> str:
        return self.name

    def close_files(self) -> None:
        """Close what it has open, as the kernel does: its locks go with it."""
        while self.descriptors:
            outside(partial(os.close, self.descriptors.pop()))


PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)


def outside(act: Callable[[], Any]) -> Any:
    """Do something as the world, not as the process that is on the stack."""
    context = copy_context()
    context.run(PROCESS.set, None)
    return context.run(act)


class _Task(asyncio.Task):  # type: ignore[type-arg]
    """A task whose place in sets, and so the order in which groups cancel, does not depend on its address."""

    number = 0

    def __hash__(self) -> int:
        return self.number


class SimLoop(asyncio.BaseEventLoop):
    """Runs one handle at a time, chosen by `chance`: of a process in their order, or in any order (`is_shuffled`)."""

    def __init__(self, chance: random.Random, *, is_shuffled: bool, is_interleaved: bool) -> None:
        super().__init__()
        self.chance = chance
        self.is_shuffled = is_shuffled
        self.is_interleaved = is_interleaved
        self.now_s = 1.0
        self.steps = 0
        self.failures: list[str] = []
        self.kill: Callable[[Process], None] = lambda _: None
        self.trace: list[tuple[float, str, str]] | None = None
        self._numbers = 0
        self._executors: dict[object, _Executor] = {}
        self._calls: dict[int, _Call] = {}
        self.set_exception_handler(self._on_exception)

    def time(self) -> float:
        return self.now_s

    def note(self, who: object, what: str) -> None:
        """Put a line into the trace, if one is kept."""
        if self.trace is not None:
            self.trace.append((self.now_s, str(who), what))

    def spawn(self, process: Process, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start a process with its first task."""
        context = copy_context()
        context.run(PROCESS.set, process)
        process.main = self.create_task(work, name=process.name, context=context)
        return process.main

    def moment(self, process: Process) -> None:
        """Let the process come nearer to its end; raise when that is now."""
        if process.doomed_in is not None and not process.is_dead:
            process.doomed_in -= 1
            if process.doomed_in < 0:
                self.kill(process)
        call = self._calls.get(threading.get_ident())
        if call is not None and not process.is_dead and self.chance.random() < PAUSES:
            self._after_call(call.step)
            call.pause()
        if process.is_dead:
            raise KilledError

    def end_calls(self) -> None:
        """Let the threads of dead processes find out that they are."""
        for call in tuple(self._calls.values()):
            while not call.is_over:
                call.step()

    def resume(self, process: Process) -> None:
        """Continue a stopped process: everything that became due meanwhile is due now."""
        process.is_stopped = False
        self._ready.extend(process.parked)
        process.parked.clear()

    def create_task(self, coro: Any, *, name: str | None = None, context: Any = None) -> Any:
        task = _Task(coro, loop=self, name=name, context=context)
        self._numbers += 1
        task.number = self._numbers
        process = context.get(PROCESS) if context is not None else PROCESS.get()
        if process is not None:
            process.tasks.append(task)
        return task

    def run_in_executor(self, executor: object, func: Any, *args: Any) -> Any:
        """Run a blocking call later: as one step, or step by step in a thread; calls of one executor in their order."""
        process = PROCESS.get()
        if process is not None and process.is_dead:
            raise KilledError
        future = self.create_future()

        def work() -> None:
            try:
                answer = func(*args)
            except Exception as error:  # noqa: BLE001 - it is the caller's
                self._after_call(_settle, future.set_exception, future, error)
            else:
                self._after_call(_settle, future.set_result, future, answer)

        lane = _Executor() if executor is None else self._executors.setdefault(executor, _Executor())
        lane.waiting.append(work)
        self._after_call(self._begin_call, lane)
        return future

    def _after_call(self, act: Callable[..., None], *arguments: Any) -> None:
        self.call_later(self.chance.random() * CALL_S_MAX, act, *arguments)

    def _begin_call(self, lane: "_Executor") -> None:
        if lane.is_busy or not lane.waiting:
            return  # whoever keeps it busy begins the next
        work = lane.waiting.popleft()
        lane.is_busy = True

        def whole() -> None:
            work()
            lane.is_busy = False
            if lane.waiting:
                self._after_call(self._begin_call, lane)

        if self.is_interleaved:
            call = _Call(whole, self._calls)
            call.step()
        else:
            whole()

    def _run_once(self) -> None:
        self._take_due()
        handle = self._choose()
        if handle is None:
            return
        self.steps += 1
        if self.steps > STEPS_MAX:
            raise HungError(f"{STEPS_MAX} steps, and no end: something goes round in circles")
        self.now_s += self.chance.random() * STEP_S_MAX
        process = handle._context.get(PROCESS)
        if process is not None:
            process.steps += 1
            try:
                self.moment(process)
            except KilledError:
                return
        handle._run()
        if process is not None and not process.is_dead:
            for act in process.on_step:
                act()

    def _take_due(self) -> None:
        timers, ready = self._scheduled, self._ready
        while timers and timers[0]._cancelled:
            heapq.heappop(timers)._scheduled = False
        if not ready:
            if not timers:
                raise HungError("every task waits for something that cannot come any more")
            self.now_s = max(self.now_s, timers[0]._when)
        while timers and timers[0]._when <= self.now_s:
            handle = heapq.heappop(timers)
            handle._scheduled = False
            if not handle._cancelled:
                ready.append(handle)

    def _choose(self) -> asyncio.Handle | None:
        ready = self._ready
        index = int(self.chance.random() * len(ready)) if len(ready) > 1 else 0
        if not self.is_shuffled and index:
            process = ready[index]._context.get(PROCESS)
            index = next(i for i, handle in enumerate(ready) if handle._context.get(PROCESS) is process)
        handle = ready[index]
        del ready[index]
        process = handle._context.get(PROCESS)
        if handle._cancelled or (process is not None and process.is_dead):
            return None
        if process is not None and process.is_stopped:
            process.parked.append(handle)
            return None
        return handle

    def _on_exception(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, KilledError | asyncio.CancelledError) and "pending" not in context["message"]:
            self.failures.append(f"{context['message']}: {error!r}")

    def _process_events(self, event_list: Any) -> None:
        """There are none: nothing here comes from outside."""

    def _write_to_self(self) -> None:
        """Nobody sleeps who would have to be woken."""

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Cancelled timers are dropped when they come up."""


class _Executor:
    """What one thread has to do, one call after the other."""

    def __init__(self) -> None:
        self.waiting: deque[Callable[[], None]] = deque()
        self.is_busy = False


class _Call:
    """A blocking call in a thread that moves only while the loop stands still: they take turns."""

    def __init__(self, work: Callable[[], None], calls: dict[int, "_Call"]) -> None:
        self.is_over = False
        self._work = work
        self._calls = calls
        self._go, self._back = threading.Lock(), threading.Lock()
        self._go.acquire()
        self._back.acquire()
        threading.Thread(target=copy_context().run, args=(self._run,), daemon=True).start()

    def step(self) -> None:
        """Let the thread go on until it pauses or ends; called by the loop."""
        self._go.release()
        self._back.acquire()

    def pause(self) -> None:
        """Give the turn back; called by the thread."""
        self._back.release()
        self._go.acquire()

    def _run(self) -> None:
        self._go.acquire()
        self._calls[threading.get_ident()] = self
        try:
            with contextlib.suppress(KilledError):
                self._work()
        finally:
            del self._calls[threading.get_ident()]
            self.is_over = True
            self._back.release()


def _settle(settle: Callable[[Any], None], future: asyncio.Future[Any], value: Any) -> None:
    if not future.done():
        settle(value)


@contextlib.contextmanager
def simulated(
    chance: random.Random, *, is_shuffled: bool, is_interleaved: bool, processes: list[Process]
) -> Iterator[SimLoop]:
    """Give a loop, and bury what is left of every process at the end."""
    loop = SimLoop(chance, is_shuffled=is_shuffled, is_interleaved=is_interleaved)
    try:
        yield loop
    finally:
        for process in processes:
            process.is_dead = True
        loop.end_calls()
        for process in processes:
            for task in process.tasks:
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                _bury(task, process)
        loop._ready.clear()
        loop._scheduled.clear()
        loop.close()


def _bury(task: asyncio.Task[Any], process: Process) -> None:
    """End a coroutine that will never be stepped again, so that no collector of garbage does it at a bad time."""
    context = copy_context()
    context.run(PROCESS.set, process)
    context.run(_close, task.get_coro())


def _close(coroutine: Any) -> None:
    for _ in range(20):
        inner = coroutine.cr_await
        if inspect.iscoroutine(inner):
            _close(inner)
        try:
            coroutine.close()
        except BaseException:  # noqa: BLE001 - what a dead process says of its end is of no interest
            continue
        break

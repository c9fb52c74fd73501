"""Store operations as steps: a worker may be killed before any, interrupted at any, or take turns with others."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import orjson
from typing_extensions import override

from fluxforge.adapters.memory.store import MemoryStore
from fluxforge.ports.store import Store

_TURN_S = 60.0


class KilledError(BaseException):
    """The process dies here."""


class SteppedStore(Store):
    """Passes everything on; `step` is called before every operation, with its name."""

    def __init__(self, inner: Store, step: Callable[[str], None]) -> None:
        self._inner = inner
        self._step = step

    @override
    def create(self, key: str, body: bytes) -> None:
        self._step(f"create {key}")
        self._inner.create(key, body)

    @override
    def adopt(self, key: str, path: Path) -> None:
        self._step(f"adopt {key}")
        self._inner.adopt(key, path)

    @override
    def move(self, key: str, target: str) -> None:
        self._step(f"move {key}")
        self._inner.move(key, target)

    @override
    def delete(self, key: str) -> None:
        self._step(f"delete {key}")
        self._inner.delete(key)

    @override
    def read(self, key: str, *, offset: int = 0, length: int | None = None) -> bytes:
        self._step(f"read {key}")
        return self._inner.read(key, offset=offset, length=length)

    @override
    def size(self, key: str) -> int | None:
        self._step(f"size {key}")
        return self._inner.size(key)

    @override
    def keys(self, prefix: str) -> Iterator[str]:
        self._step(f"keys {prefix}")
        return iter(list(self._inner.keys(prefix)))


class At:
    """A step that does something before the operation of one number, counted from 0."""

    def __init__(self, number: int, act: Callable[[], None]) -> None:
        self.number = number
        self.act = act
        self.done: list[str] = []

    def __call__(self, operation: str) -> None:
        self.done.append(operation)
        if len(self.done) == self.number + 1:
            self.act()

    @property
    def was_reached(self) -> bool:
        return len(self.done) > self.number


def killed() -> None:
    raise KilledError


class Turns:
    """Lets threads do one operation each in an order that a seed chooses; the same seed gives the same order."""

    def __init__(self, random: Random, workers: int) -> None:
        self._random = random
        self._changed = threading.Condition()
        self._waiting: set[int] = set()
        self._alive = set(range(workers))
        self._turn: int | None = None

    def _step_of(self, worker: int) -> Callable[[str], None]:
        """Return the step of one worker: it waits there for its turn."""

        def step(_: str) -> None:
            with self._changed:
                self._waiting.add(worker)
                self._choose()
                assert self._changed.wait_for(lambda: self._turn == worker, _TURN_S), "nobody gave the turn on"
                self._turn = None
                self._waiting.discard(worker)

        return step

    def take(self, work: Callable[[int, Callable[[str], None]], None]) -> list[BaseException]:
        """Have every worker do its work, given its step, until all ended; return what ended any but by a kill."""
        failures: list[BaseException] = []

        def one(worker: int) -> None:
            try:
                work(worker, self._step_of(worker))
            except KilledError:
                pass
            except BaseException as error:  # noqa: BLE001 - whatever else ends a worker fails the test
                failures.append(error)
            finally:
                self._ended(worker)

        threads = [threading.Thread(target=one, args=(worker,)) for worker in sorted(self._alive)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return failures

    def _ended(self, worker: int) -> None:
        with self._changed:
            self._alive.discard(worker)
            self._choose()

    def _choose(self) -> None:
        """Give the turn to somebody once everybody who lives waits for it."""
        if self._turn is None and self._alive and self._waiting >= self._alive:
            self._turn = self._random.choice(sorted(self._waiting))
            self._changed.notify_all()


def everything(store: MemoryStore) -> dict[str, bytes]:
    """Return all objects; of commit records without where their parts were before they were placed."""
    found = {key: store.read(key) for key in store.keys("")}
    for key, body in found.items():
        if key.startswith("commits/") and key.endswith(".json"):
            commit = orjson.loads(body)
            for part in commit["parts"]:
                del part["temp_key"]
            found[key] = orjson.dumps(commit)
    return found

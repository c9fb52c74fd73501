"""Every S3 operation under every fault of the way to it: what a repeat settles is what a store without faults holds."""

import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fluxforge.adapters.embedded_s3 import EmbeddedS3
from fluxforge.adapters.s3 import S3Store
from fluxforge.adapters.s3.client import new_client
from fluxforge.domain.errors import ObjectExistsError, StoreUnavailableError
from tests.s3_proxy import Fault, FaultyS3, Operation, faulty_s3

PART_BYTES = 5 * 2**20
LARGE = bytes(range(256)) * (PART_BYTES // 128) + b"end"
TRIES = 4
Act = Callable[[S3Store], Any]


@pytest.fixture(scope="module")
def way(s3_server: EmbeddedS3) -> Iterator[FaultyS3]:
    with faulty_s3(s3_server.url) as opened:
        yield opened


@pytest.fixture
def near(s3_server: EmbeddedS3, tmp_path: Path) -> S3Store:
    """The store, as somebody sees it whose way to it is sound."""
    return S3Store(s3_server.options(f"{tmp_path.name}-{secrets.token_hex(4)}"))


@pytest.fixture
def far(near: S3Store, way: FaultyS3, s3_server: EmbeddedS3) -> S3Store:
    """The same store over the faulty way, asked by a client with little patience."""
    options = replace(s3_server.options(near.prefix), endpoint_url=way.url)
    return S3Store(options, client=new_client(options, attempts=2, answer_s=0.4), part_bytes=PART_BYTES)


def written(act: Act, key: str, body: bytes) -> Act:
    """Return a write that, repeated, takes its own object for its own, as every caller of a store does."""

    def write(store: S3Store) -> None:
        try:
            act(store)
        except ObjectExistsError:
            assert store.read(key) == body

    return write


def moved(store: S3Store) -> None:
    try:
        store.move("source", "target")
    except ObjectExistsError:  # moved before, but for the deletion
        assert store.read("source") == store.read("target")
        store.delete("source")


ACTS: dict[Operation, tuple[Act, Act]] = {
    Operation.PUT: (
        written(lambda store: store.create("new", b"body"), "new", b"body"),
        lambda store: store.read("new") == b"body",
    ),
    **{
        operation: (
            written(lambda store: store.create("large", LARGE), "large", LARGE),
            lambda store: store.read("large") == LARGE,
        )
        for operation in (Operation.CREATE_UPLOAD, Operation.UPLOAD_PART, Operation.COMPLETE)
    },
    Operation.COPY: (moved, lambda store: (store.size("source"), store.read("target")) == (None, b"source")),
    Operation.GET: (lambda store: store.read("source"), lambda store: store.read("source") == b"source"),
    Operation.HEAD: (lambda store: store.size("source"), lambda store: store.size("source") == 6),
    Operation.LIST: (lambda store: list(store.keys("")), lambda store: list(store.keys("")) == ["source"]),
    Operation.DELETE: (lambda store: store.delete("source"), lambda store: store.size("source") is None),
}
PASSING = [fault for fault in Fault if fault not in {Fault.DENIED, Fault.OVERWRITES}]
ANSWERED_WITHOUT_A_BODY = {Operation.PUT, Operation.UPLOAD_PART, Operation.HEAD, Operation.DELETE}
RESULTS = {Operation.GET: b"source", Operation.HEAD: 6, Operation.LIST: ["source"]}


@pytest.mark.parametrize("times", [1, 3], ids=["once", "more often than the client tries"])
@pytest.mark.parametrize(
    ("operation", "fault"),
    [(o, f) for o in Operation for f in PASSING if f is not Fault.CUT or o not in ANSWERED_WITHOUT_A_BODY],
)
def test_a_repeat_settles_what_a_fault_left_open(
    operation: Operation, fault: Fault, times: int, near: S3Store, far: S3Store, way: FaultyS3
) -> None:
    near.create("source", b"source")
    act, holds = ACTS[operation]
    way.plan(operation, fault, times=times)
    for tried in range(TRIES):
        try:
            result = act(far)
        except StoreUnavailableError:
            assert tried < TRIES - 1
        else:
            break
    assert way.met == times or (fault is Fault.LOST and way.met), "the fault was not met as often as planned"
    assert holds(near)
    assert result == RESULTS.get(operation)
    left = set(near.keys("")) - {"source", "target", "new", "large"}
    assert left == set()

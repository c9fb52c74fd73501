"""A backup as docs/operations.md tells it, restored into an empty project."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.engine import run
from tests.e2e.stack import Stack, until

pytestmark = pytest.mark.timeout(600)
KEPT = {
    "data": ("cli", "-C", "/", "data", "var/lib/fluxforge/spool"),
    "nats": ("nats", "-C", "/var/lib/nats", "."),
}
OBJECTS = {"seaweedfs": ("--user", "1000", "seaweedfs", "-C", "/data", ".")}

Kept = dict[str, tuple[str, ...]]


def on_volumes(absent: frozenset[str], _: Path) -> tuple[Stack, Kept]:
    return Stack(absent), KEPT


def in_a_directory(absent: frozenset[str], folder: Path) -> tuple[Stack, Kept]:
    data = folder / "lake"
    data.mkdir()
    os.chown(data, 10001, 10001)
    return Stack(absent, FLUXFORGE_DATA=str(data)), KEPT


def on_objects(absent: frozenset[str], _: Path) -> tuple[Stack, Kept]:
    stack = Stack(absent, profiles=("demo", "s3"), FLUXFORGE_STORAGE="s3")
    if "seaweedfs" not in stack.services:
        pytest.skip("the image of seaweedfs can neither be pulled nor be built here")
    return stack, KEPT | OBJECTS


@pytest.fixture(params=[on_volumes, in_a_directory, on_objects], ids=lambda place: place.__name__)
def kept(absent: frozenset[str], tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Stack, Kept]]:
    """A project that nobody else looks at, and what must be kept of it."""
    place: Callable[[frozenset[str], Path], tuple[Stack, Kept]] = request.param
    if place is in_a_directory and os.geteuid() != 0:
        pytest.skip("only root can give a directory to user 10001")
    stack, volumes = place(absent, tmp_path)
    with stack.running(request.session):
        yield stack, volumes


def tar(stack: Stack, mode: str, service: tuple[str, ...], archive: Path) -> None:
    """Run tar in a container of a service: `-c` writes the archive, `-xp` reads it."""
    *options, name, change, place = service[: service.index("-C") + 2]
    paths = service[service.index("-C") + 2 :] if mode == "-c" else ()
    inside = ("run", "--rm", "--no-TTY", "--no-deps", *options, "--entrypoint", "tar", name)
    command = stack.command(*inside, change, place, f"{mode}f", "-", *paths)
    with archive.open("wb" if mode == "-c" else "rb") as file:
        pipes = {"stdout": file} if mode == "-c" else {"stdin": file}
        subprocess.run(command, env=stack.environment, check=True, timeout=120, **pipes)


def test_what_was_backed_up_is_there_again_and_goes_on(kept: tuple[Stack, Kept], tmp_path: Path) -> None:
    stack, volumes = kept
    before = until("balanced books", stack.balanced)
    stack.compose("stop")
    for name, service in volumes.items():
        tar(stack, "-c", service, tmp_path / f"{name}.tar")
    stack.compose("down", "--volumes")
    empty_directory(tmp_path / "lake")

    for name, service in volumes.items():
        tar(stack, "-xp", service, tmp_path / f"{name}.tar")
    stack.up()
    more = until("balanced books with more records", lambda: stack.balanced(before["captured"]))
    assert more["segments"] > before["segments"]


def empty_directory(path: Path) -> None:
    """Remove what a directory holds, where there is one: `down --volumes` leaves those of this machine."""
    if path.exists():
        run("find", path, "-mindepth", "1", "-delete")

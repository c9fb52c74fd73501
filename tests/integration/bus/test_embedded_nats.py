"""The embedded server: comes up, ends with its owner or is adopted, refuses a second owner, survives stale files."""

import asyncio
import fcntl
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from fluxforge.adapters.embedded_nats import EmbeddedNats, running_url
from fluxforge.domain.errors import FatalError, UsageError
from tests.contract.bus_world import eventually
from tests.servers import MAX_PAYLOAD, running_nats


def _start_and_die(data_dir: Path) -> int:
    """Start a server in a process that is killed without a chance to stop it; return the server's pid."""
    body = f"""
        import asyncio, os, pathlib, signal
        from fluxforge.adapters.embedded_nats import EmbeddedNats
        async def main():
            server = EmbeddedNats(pathlib.Path({str(data_dir)!r}), {MAX_PAYLOAD})
            await server.start()
            print(server.pid, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        asyncio.run(main())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(body)], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    return int(done.stdout)


@pytest.fixture
def stranger():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")  # an orphan that ended may stay a zombie where nobody reaps it
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


async def test_the_server_ends_with_stop_and_stop_may_be_repeated(tmp_path):
    server = EmbeddedNats(tmp_path, MAX_PAYLOAD)
    url = await server.start()
    pid = server.pid
    assert url.startswith("nats://127.0.0.1:")
    assert server.monitor_url.startswith("http://127.0.0.1:")
    assert server.alive
    await server.stop()
    await server.stop()
    assert not server.alive
    assert not _is_running(pid)


async def test_a_server_that_outlived_its_owner_is_adopted_and_stopped_at_the_end(tmp_path):
    orphan = _start_and_die(tmp_path)
    server = EmbeddedNats(tmp_path, MAX_PAYLOAD)
    await server.start()
    assert server.pid == orphan
    assert server.alive
    await server.stop()
    await eventually(lambda: not _is_running(orphan))  # it lets go of its directory a little before its end


async def test_an_orphan_with_another_configuration_is_replaced(tmp_path):
    orphan = _start_and_die(tmp_path)
    server = EmbeddedNats(tmp_path, MAX_PAYLOAD // 2)
    await server.start()
    try:
        assert server.pid != orphan
        await eventually(lambda: not _is_running(orphan))
    finally:
        await server.stop()


async def test_an_orphan_that_does_not_answer_is_replaced_by_force(tmp_path, monkeypatch):
    monkeypatch.setattr("fluxforge.adapters.embedded_nats._TERM_S", 0.3)
    monkeypatch.setattr("fluxforge.adapters.nats_process._ANSWER_S", 0.3)
    orphan = _start_and_die(tmp_path)
    os.kill(orphan, signal.SIGSTOP)
    server = EmbeddedNats(tmp_path, MAX_PAYLOAD)
    await server.start()
    try:
        assert server.pid != orphan
        await eventually(lambda: not _is_running(orphan))
    finally:
        await server.stop()


async def test_a_second_owner_is_refused_while_the_first_lives(tmp_path):
    async with running_nats(tmp_path) as first:
        with pytest.raises(UsageError, match=f"in use by another FluxForge.*{os.getpid()}"):
            await EmbeddedNats(tmp_path / "nats", MAX_PAYLOAD).start()
        assert first.alive


async def test_a_stale_pid_file_that_names_a_stranger_harms_nobody(tmp_path, stranger):
    tmp_path.joinpath("nats.pid").write_text(str(stranger.pid))
    server = EmbeddedNats(tmp_path, MAX_PAYLOAD)
    await server.start()
    assert server.pid != stranger.pid
    await server.stop()
    assert stranger.poll() is None


async def test_a_killed_server_comes_back_on_the_port_it_had(tmp_path):
    async with running_nats(tmp_path) as server:
        url, pid = server.url, server.pid
        os.kill(pid, signal.SIGKILL)
        assert await server.start() == url
        assert server.pid != pid


async def test_a_server_that_cannot_start_is_reported_with_its_log(tmp_path):
    tmp_path.joinpath("jetstream").write_text("not a directory")
    with pytest.raises(FatalError, match=r"(?s)did not come up.*storage directory"):
        await EmbeddedNats(tmp_path, MAX_PAYLOAD).start()


async def test_somebody_who_looks_disturbs_no_start(tmp_path):
    server, seen = EmbeddedNats(tmp_path, MAX_PAYLOAD), []
    starting = asyncio.ensure_future(server.start())
    while not starting.done():
        seen.append(running_url(tmp_path))
        await asyncio.sleep(0)
    assert running_url(tmp_path) == await starting
    assert None in seen
    await server.stop()
    assert running_url(tmp_path) is None


async def test_a_directory_held_by_something_else_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("fluxforge.adapters.embedded_nats._TERM_S", 0.1)
    monkeypatch.setattr("fluxforge.adapters.embedded_nats._KILL_S", 0.1)
    with tmp_path.joinpath("server.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match="is held by a process that is no nats-server of ours"):
            await EmbeddedNats(tmp_path, MAX_PAYLOAD).start()

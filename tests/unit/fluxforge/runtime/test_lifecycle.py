import asyncio
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator

import pytest

from fluxforge.domain.errors import BusUnavailableError, ConfigurationError
from fluxforge.runtime.lifecycle import Shutdown, run

PROGRAM = """
import asyncio, sys, time
from fluxforge.domain.errors import ConfigurationError, BusUnavailableError, FatalError
from fluxforge.runtime import lifecycle, logs

logs.configure("tester", level="INFO", log_format="json")

async def body(shutdown):
    print("up", flush=True)
    {body}

lifecycle.FAILURE_S = {failure_s}
deadlines = lifecycle.Deadlines({soft_s}, {hard_s})
sys.exit(lifecycle.run("tester", body, parent_pipe={parent_pipe}, on_signal=deadlines))
"""


Starter = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    """Let a test end as a process would, and pytest go on."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def started() -> Iterator[Starter]:
    """Start a program around a body; it is killed and its pipes are closed at the end of the test."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(
        body: str,
        *,
        parent_pipe: bool = False,
        soft_s: float = 30.0,
        hard_s: float = 30.0,
        failure_s: float = 30.0,
    ) -> subprocess.Popen[bytes]:
        text = PROGRAM.format(body=body, parent_pipe=parent_pipe, soft_s=soft_s, hard_s=hard_s, failure_s=failure_s)
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(text)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,  # else the line read here may take later ones with it, which communicate would miss
        )
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        return process

    yield start
    for process in processes:
        process.kill()
        with process:
            process.wait()


def end(process: subprocess.Popen[bytes]) -> tuple[int, list[bytes]]:
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors.splitlines()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_for_the_drain_and_the_process_ends_with_0(started: Starter, number: signal.Signals) -> None:
    process = started("await shutdown.wait(); print('drained')")
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output, errors) == (0, b"drained\n", b"")


def test_a_signal_that_comes_when_the_process_ends_anyway_changes_nothing(started: Starter) -> None:
    process = started(
        "import atexit, os, signal; atexit.register(lambda: os.kill(os.getpid(), signal.SIGTERM) or print('ended'))"
    )
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output, errors) == (0, b"ended\n", b"")


def test_a_signal_that_comes_while_the_last_threads_end_changes_nothing(started: Starter) -> None:
    process = started(
        """
    async def left_behind():
        try:
            await asyncio.Event().wait()
        finally:
            print("closing", flush=True)
    global behind
    behind = asyncio.create_task(left_behind())
    asyncio.get_running_loop().run_in_executor(None, sys.stdin.read, 1)
    await asyncio.sleep(0)
    """
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"closing\n"
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(b"x", timeout=60)
    assert (process.returncode, errors) == (0, b"")


def test_the_end_of_stdin_asks_for_the_drain_with_a_parent_pipe(started: Starter) -> None:
    process = started("await shutdown.wait()", parent_pipe=True)
    assert end(process) == (0, [])  # communicate closes stdin


def test_stdin_means_nothing_without_a_parent_pipe(started: Starter) -> None:
    process = started("await shutdown.wait()")
    assert process.stdin is not None
    process.stdin.close()
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.3)
    process.terminate()
    assert process.wait(timeout=60) == 0


@pytest.mark.parametrize(
    "body", ["await shutdown.wait(); await asyncio.sleep(60)", "await shutdown.wait(); time.sleep(60)"]
)
def test_a_drain_that_takes_too_long_ends_with_1_even_when_the_loop_is_blocked(started: Starter, body: str) -> None:
    process = started(body, hard_s=0.2)
    process.terminate()
    code, errors = end(process)
    assert code == 1
    assert b'"event":"service.drain_timed_out"' in errors[-1]


def test_a_drain_out_of_time_leaves_the_rest_and_waits_for_no_thread(started: Starter) -> None:
    work = "asyncio.to_thread(time.sleep, 60)"
    process = started(f"print(await shutdown.unless_hurried({work}), shutdown.hurried)", soft_s=0.2)
    process.terminate()
    output, errors = process.communicate(timeout=25)
    assert (process.returncode, output, errors) == (0, b"False True\n", b"")


def test_a_failure_while_out_of_time_is_the_one_line_and_waits_for_no_thread(started: Starter) -> None:
    work = "asyncio.to_thread(time.sleep, 60)"
    process = started(f"await shutdown.unless_hurried({work}); raise FatalError('the reason')", soft_s=0.2)
    process.terminate()
    code, (line,) = end(process)
    assert code == 1
    assert b'"error":"the reason"' in line


SWALLOWS = """
    async def swallows():
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                pass

    async def fails():
        raise FatalError("the reason")

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(swallows())
        tasks.create_task(shutdown.watched(fails))
"""


HANGS = """
    _ = asyncio.ensure_future(asyncio.to_thread(time.sleep, 60))
    await asyncio.sleep(0.1)
    raise FatalError("the reason")
"""


@pytest.mark.parametrize(
    "body",
    [
        SWALLOWS,
        HANGS,
    ],
    ids=["a cancellation is swallowed", "a thread hangs"],
)
def test_a_process_that_hangs_on_a_known_failure_is_ended_with_its_reason(started: Starter, body: str) -> None:
    code, errors = end(started(body, failure_s=0.3))
    assert code == 1
    (line,) = errors
    assert b'"error":"the reason"' in line


async def test_work_that_is_done_in_time_is_done_and_its_failure_is_told() -> None:
    seen: list[Exception] = []
    shutdown = Shutdown(on_failure=seen.append)
    assert await shutdown.unless_hurried(asyncio.sleep(0))
    with pytest.raises(ConfigurationError):
        await shutdown.unless_hurried(shutdown.watched(_refused))
    assert [str(error) for error in seen] == ["wrong key"]
    assert not shutdown.requested
    shutdown.hurry()
    assert shutdown.requested
    assert not await shutdown.unless_hurried(asyncio.Event().wait())


async def _refused() -> None:
    raise ConfigurationError("wrong key")


@pytest.mark.parametrize(
    ("body", "code", "event"),
    [
        ("raise ConfigurationError('wrong key')", 2, b"service.refused"),
        ("raise BusUnavailableError('publish', 'gone')", 1, b"service.failed"),
        ("raise ValueError('a bug')", 1, b"service.crashed"),
        ("raise ExceptionGroup('two', [ValueError('x'), ConfigurationError('wrong key')])", 2, b"service.refused"),
        ("raise ExceptionGroup('two', [BusUnavailableError('a', 'b'), ValueError('x')])", 1, b"service.crashed"),
    ],
)
def test_an_early_end_has_the_code_of_its_cause_and_one_line(
    started: Starter, body: str, code: int, event: bytes
) -> None:
    found, errors = end(started(body))
    assert found == code
    assert len(errors) == 1
    assert b'"event":"%b"' % event in errors[0]


def test_a_shutdown_is_asked_for_once() -> None:
    seen: list[bool] = []

    async def body(shutdown: Shutdown) -> None:
        seen.append(shutdown.requested)
        shutdown.request()
        shutdown.request()
        await shutdown.wait()
        seen.append(shutdown.requested)

    assert run("tester", body) == 0
    assert seen == [False, True]


def test_errors_of_ours_keep_their_codes() -> None:
    async def refuses(_shutdown: Shutdown) -> None:
        raise ConfigurationError("wrong key")

    async def fails(_shutdown: Shutdown) -> None:
        raise BusUnavailableError("publish", "gone")

    assert (run("tester", refuses), run("tester", fails)) == (2, 1)


def test_a_drain_that_ended_in_time_is_not_given_up_later() -> None:
    program = textwrap.dedent(
        """
        import threading
        from fluxforge.runtime import lifecycle

        async def body(shutdown):
            shutdown.request()

        assert lifecycle.run("tester", body, on_pipe_end=lifecycle.Deadlines(2.0, 2.0)) == 0
        threading.Event().wait(2.5)
        """
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0

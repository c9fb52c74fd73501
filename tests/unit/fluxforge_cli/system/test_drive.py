import asyncio
import os
import signal

import pytest

from fluxforge.domain.errors import ConfigurationError
from fluxforge.runtime.lifecycle import Shutdown
from fluxforge_cli.system.drive import GivenUpError, drive, silence_lost


def test_the_first_signal_asks_for_the_drain() -> None:
    async def body(shutdown: Shutdown) -> str:
        os.kill(os.getpid(), signal.SIGINT)
        await shutdown.wait()
        return "drained"

    assert drive(body) == "drained"


def test_the_second_signal_gives_the_drain_up() -> None:
    cleaned = []

    async def body(shutdown: Shutdown) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await shutdown.wait()
        os.kill(os.getpid(), signal.SIGINT)
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append(True)

    with pytest.raises(GivenUpError, match="processed at the next start"):
        drive(body)
    assert cleaned == [True]


def test_a_group_of_one_error_is_raised_as_that_error() -> None:
    async def refuse() -> None:
        raise ConfigurationError("wrong key")

    async def body(_shutdown: Shutdown) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(refuse())

    with pytest.raises(ConfigurationError, match="wrong key"):
        drive(body)


def test_a_hangup_asks_for_the_drain_and_a_second_one_does_not_give_it_up() -> None:
    async def body(shutdown: Shutdown) -> str:
        os.kill(os.getpid(), signal.SIGHUP)
        await shutdown.wait()
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.sleep(0)
        return "drained"

    assert drive(body) == "drained"


def test_a_hangup_reloads_where_there_is_something_to_reload() -> None:
    reloaded = asyncio.Event()

    async def body(shutdown: Shutdown) -> bool:
        os.kill(os.getpid(), signal.SIGHUP)
        await reloaded.wait()
        return shutdown.requested

    assert drive(body, reload=reloaded.set) is False


def test_what_is_written_to_a_terminal_that_is_gone_goes_nowhere() -> None:
    terminal, stream = os.openpty()
    try:
        assert not silence_lost([stream])
        os.close(terminal)
        assert silence_lost([stream])
        assert os.write(stream, b"drained") == 7
    finally:
        os.close(stream)

"""A process that has imported everything and runs each subject in a fork of itself; to be started under strace.

strace counts calls for each thread by itself and fails the WHEN-th: a thread that makes WHEN - k calls which fail
anyway has its k-th own call failed. So one start of strace, and one import of everything, serves every point.
"""

import asyncio
import ctypes
import functools
import os
import signal
import sys
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import orjson
import uvloop

from tests.faults.disk import subjects

_OPENED_BY_IMPORTS = 3_000
_WHEN = 600

MARK = "/fluxforge-begins/"
"""Looked up by a thread whose calls are counted from here on; the thread's name follows."""

_LIBC = ctypes.CDLL(None)
_NULL = None
_BURN: dict[str, Callable[[], object]] = {
    "fsync": lambda: _LIBC.fsync(-1),
    "write": lambda: _LIBC.write(-1, _NULL, 0),
    "pwrite64": lambda: _LIBC.pwrite64(-1, _NULL, 0, 0),
    "openat": lambda: _LIBC.openat(-1, b"", 0),
    "rename": lambda: _LIBC.rename(b"", b""),
    "renameat2": lambda: _LIBC.renameat2(-1, b"", -1, b"", 1),  # without a flag the library makes another call
    "link": lambda: _LIBC.link(b"", b""),
    "unlink": lambda: _LIBC.unlink(b""),
    "unlinkat": lambda: _LIBC.unlinkat(-1, b"", 0),
    "mkdir": lambda: _LIBC.mkdir(b"", 0),
    "rmdir": lambda: _LIBC.rmdir(b""),
    "ftruncate": lambda: _LIBC.ftruncate(-1, 0),
}
WHEN = {call: _OPENED_BY_IMPORTS if call == "openat" else _WHEN for call in _BURN}
"""System calls that can be failed, and the how-manieth of a thread it is: no thread makes as many by itself."""


@dataclass(frozen=True, slots=True)
class Order:
    """Run a subject; with `thread` the `number`-th call of `syscall` made by that thread is the one that fails."""

    subject: str
    arguments: list[str]
    thread: str | None = None
    syscall: str = ""
    number: int = 0


def begin(thread: str, order: Order) -> None:
    """Mark the log and make the failing call's distance right for this thread."""
    _LIBC.access(f"{MARK}{thread}".encode(), 0)
    if order.thread == thread:
        for _ in range(WHEN[order.syscall] - order.number):
            _BURN[order.syscall]()


def loop(order: Order) -> asyncio.AbstractEventLoop:
    """Return an event loop whose blocking calls are all made by one thread, "disk".

    It is asyncio's own: uvloop's would be woken by writes of that thread, now and then.
    """
    made = asyncio.SelectorEventLoop()
    made.set_default_executor(ThreadPoolExecutor(1, initializer=begin, initargs=("disk", order)))
    return made


def run(order: Order, output: int, log: int) -> None:
    """Be the subject: its own standard streams, its own end."""
    os.dup2(log, 1)  # opened before the fork: a thread's calls count from its begin
    os.dup2(log, 2)
    os.close(output)
    uvloop.new_event_loop = functools.partial(loop, order)
    begin("main", order)
    try:
        status = getattr(subjects, order.subject)(*order.arguments)
    except BaseException:  # noqa: BLE001 - as the interpreter would; this one has to end here
        traceback.print_exc()
        status = 1
    os._exit(status)


def main(log_path: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started us ends us
    log = os.open(log_path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o644)
    output = os.dup(1)  # whatever prints on stdout does not garble the answers
    os.dup2(2, 1)
    pid, write_end = 0, -1
    for line in sys.stdin.buffer:
        message = orjson.loads(line)
        answer: int | None = None
        match message.pop("op"):
            case "start":
                read_end, write_end = os.pipe()
                pid = os.fork()
                if not pid:
                    os.dup2(read_end, 0)
                    os.close(read_end)
                    os.close(write_end)
                    run(Order(**message), output, log)
                os.close(read_end)
                answer = pid
            case "end_input":
                os.close(write_end)
                write_end = -1
            case "poll":
                found, status = os.waitpid(pid, os.WNOHANG)
                answer = os.waitstatus_to_exitcode(status) if found else None
                if found and write_end >= 0:
                    os.close(write_end)
                    write_end = -1
        os.writev(output, [orjson.dumps(answer), b"\n"])  # not write, of which this thread would make too many


if __name__ == "__main__":
    main(*sys.argv[1:])

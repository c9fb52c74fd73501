"""The probe: asks a service's own telemetry whether it is ready; the healthcheck of images that hold no curl.

`python -m fluxforge.runtime.probe [--host 127.0.0.1] [--port 9100] [/readyz]` exits with 0 where the answer is 200,
else with 1. A container starts it every few seconds: it imports the standard library alone, and little of that.
"""

import argparse
import socket
import sys
from collections.abc import Sequence
from typing import Final

TIMEOUT_S: Final = 3.0
"""For connecting, and again for each piece of the answer."""
_OK: Final = 200
_PORT_MAX: Final = 65_535
_ANSWER_BYTES_MAX: Final = 65_536


class NoAnswerError(Exception):
    """Nobody answered who speaks HTTP."""


def ask(host: str, port: int, path: str, *, timeout_s: float = TIMEOUT_S) -> tuple[int, str]:
    """Return the HTTP status and the body of an answer.

    Raises:
        NoAnswerError: Nobody listens, or there was no answer in time, or it is not HTTP.
    """
    answer = b""
    try:
        with socket.create_connection((host, port), timeout_s) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
            while len(answer) < _ANSWER_BYTES_MAX and (piece := connection.recv(_ANSWER_BYTES_MAX)):
                answer += piece
    except TimeoutError as error:
        raise NoAnswerError(f"no answer within {timeout_s:g} s") from error
    except (OSError, UnicodeError) as error:  # a name that cannot be one is refused as Unicode
        raise NoAnswerError(getattr(error, "strerror", None) or str(error)) from error
    head, _, body = answer.partition(b"\r\n\r\n")
    version, _, rest = head.partition(b" ")
    status = rest[:3]
    if not version.startswith(b"HTTP/1.") or not status.isdigit():
        raise NoAnswerError("what answers speaks no HTTP")
    return int(status), body.decode("utf-8", "replace").strip()


def main(argv: Sequence[str] | None = None) -> int:
    """Ask once; return the exit code."""
    parser = argparse.ArgumentParser("fluxforge.runtime.probe", description="Ask a service whether it is ready.")
    parser.add_argument("path", nargs="?", default="/readyz", help="/readyz (default) or /livez")
    parser.add_argument("--host", default="127.0.0.1", help="where it listens (default 127.0.0.1)")
    parser.add_argument("--port", type=_port, default=9100, help="telemetry.port of the service (default 9100)")
    arguments = parser.parse_args(argv)
    try:
        status, body = ask(arguments.host, arguments.port, arguments.path)
    except NoAnswerError as error:
        sys.stderr.write(f"{arguments.host}:{arguments.port}: {error}\n")
        return 1
    sys.stdout.write(f"{status} {body}\n")
    return 0 if status == _OK else 1


def _port(text: str) -> int:
    port = int(text)
    if not 1 <= port <= _PORT_MAX:
        raise ValueError(text)
    return port


if __name__ == "__main__":
    sys.exit(main())

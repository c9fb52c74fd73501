"""`python -m fluxforge.runtime.probe`: whether the service beside it is ready; for containers, which have no curl.

It imports nothing but the standard library and reads no configuration: it is started every few seconds.
"""

import argparse
import http.client
import sys
from collections.abc import Sequence
from typing import Final

_PORT_DEFAULT: Final = 9100
_ANSWER_S: Final = 3.0


def main(argv: Sequence[str] | None = None) -> int:
    """Ask; return 0 where the service says yes, else 1 with one line on stderr."""
    parser = argparse.ArgumentParser("fluxforge.runtime.probe", description="Ask a service of this machine how it is.")
    parser.add_argument("path", nargs="?", default="/readyz", choices=["/readyz", "/livez"])
    parser.add_argument("--port", type=int, default=_PORT_DEFAULT, help=f"its telemetry.port (default {_PORT_DEFAULT})")
    arguments = parser.parse_args(argv)
    connection = http.client.HTTPConnection("127.0.0.1", arguments.port, timeout=_ANSWER_S)
    try:
        connection.request("GET", arguments.path)
        answer = connection.getresponse()
        said = answer.read().decode(errors="replace").strip()
    except (OSError, http.client.HTTPException) as error:
        sys.stderr.write(f"no answer from port {arguments.port}: {error}\n")
        return 1
    finally:
        connection.close()
    if answer.status == http.HTTPStatus.OK:
        return 0
    sys.stderr.write(f"{arguments.path}: {said}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())

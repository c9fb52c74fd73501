"""The probe: what a container asks the service in it."""

import asyncio
import subprocess
import sys

import pytest
from prometheus_client import CollectorRegistry

from fluxforge.runtime import probe, telemetry
from tests.ports import kept_port


@pytest.mark.parametrize(("ready", "code", "said"), [(True, 0, ""), (False, 1, "/readyz: not yet\n")])
async def test_the_answer_of_the_service_is_the_exit_code(ready, code, said, capsys):
    server = await telemetry.serve("127.0.0.1", 0, CollectorRegistry(), lambda: ready, lambda: True)
    try:
        assert await asyncio.to_thread(probe.main, ["--port", str(server.port)]) == code
        assert await asyncio.to_thread(probe.main, ["/livez", "--port", str(server.port)]) == 0
    finally:
        await server.close()
    assert capsys.readouterr().err == said


def test_nobody_there_is_not_ready(capsys):
    with kept_port() as port:
        assert probe.main(["--port", str(port)]) == 1
        assert f"no answer from port {port}" in capsys.readouterr().err


def test_it_imports_nothing_but_the_standard_library():
    script = (
        "import sys; import fluxforge.runtime.probe; "
        "print(sorted({name.partition('.')[0] for name in sys.modules} - sys.stdlib_module_names))"
    )
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True).stdout
    assert set(eval(loaded)) <= {"fluxforge", "__main__", "sitecustomize", "_virtualenv"} | _editable(), loaded


def _editable() -> set[str]:
    """Return what the interpreter loads by itself for packages that are installed from their sources."""
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys; print(list(sys.modules))"], capture_output=True, check=True, text=True
    ).stdout
    return {name.partition(".")[0] for name in eval(loaded)}

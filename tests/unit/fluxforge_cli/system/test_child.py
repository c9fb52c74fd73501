from pathlib import Path

import pytest

from fluxforge.domain.status import EtlStatus, status_to_json
from fluxforge_cli.system.child import Child, final_status, last_error
from fluxforge_cli.system.plan import Role, ServicePlan

STATUS = EtlStatus(at_ns=1, ready=True, backlog=0, segments=2, records=3, quarantined=0, rows={"trades": 3})


def module(tmp_path: Path, body: str) -> ServicePlan:
    (tmp_path / "some_service.py").write_text(f"import os, sys\n{body}\n")
    return ServicePlan(Role.ETL, "some", "some_service", ("--x",), {"PYTHONPATH": str(tmp_path), "FLUXFORGE_T": "v"})


def test_the_final_status_is_the_last_line() -> None:
    assert final_status(b"noise\n" + status_to_json(STATUS) + b"\n") == STATUS
    assert final_status(b"") is None
    assert final_status(status_to_json(STATUS) + b"\nnoise\n") is None


def test_the_last_error_of_a_log_is_why_it_ended() -> None:
    log = b'{"level":"error","event":"service.refused","error":"wrong key"}\n{"level":"info","event":"x"}\n'
    assert last_error(log) == "wrong key"
    assert last_error(b'{"level":"error","event":"service.drain_timed_out"}') == "service.drain_timed_out"
    assert last_error(b"Traceback\nModuleNotFoundError: no\n\n") == "ModuleNotFoundError: no"
    assert last_error(b'{"level":"info","event":"feed.subscribed"}\n') == ""
    assert last_error(b"") == ""


async def test_a_child_drains_when_its_pipe_closes_and_says_its_last_word(tmp_path: Path) -> None:
    text = status_to_json(STATUS).decode()
    body = f"sys.stdin.read(); print({text!r}); assert sys.argv[1:] == ['--x'] and os.environ['FLUXFORGE_T'] == 'v'"
    child = await Child.start(module(tmp_path, body), tmp_path / "log")
    child.drain()
    ended = await child.ended()
    assert (ended.code, ended.status, ended.reason) == (0, STATUS, "")


async def test_the_reason_is_of_this_life_alone(tmp_path: Path) -> None:
    (tmp_path / "log").write_text('{"level":"error","error":"of an earlier life"}\n')
    child = await Child.start(module(tmp_path, "sys.exit(3)"), tmp_path / "log")
    ended = await child.ended()
    assert (ended.code, ended.status, ended.reason) == (3, None, "")


async def test_what_lies_in_the_working_directory_is_no_module_of_a_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "nats.py").write_text("raise SystemExit(7)")
    monkeypatch.chdir(here)
    child = await Child.start(module(tmp_path, "import nats"), tmp_path / "log")
    assert (await child.ended()).code == 0


async def test_a_killed_child_has_the_signal_as_its_code(tmp_path: Path) -> None:
    child = await Child.start(module(tmp_path, "sys.stdin.read()"), tmp_path / "log")
    assert child.pid > 0
    child.kill()
    assert (await child.ended()).code == -9
    child.kill()

import orjson
import pytest

from fluxforge_cli.findings import Finding, State, show, worst

FOUND = [
    Finding("bus", State.OK, "reached at [host]:4222"),
    Finding("clock", State.DEGRADED, "2 s behind", "run chrony"),
]


def test_the_worst_finding_is_the_answer_and_nothing_found_is_well() -> None:
    assert worst([]) is State.OK
    assert worst(FOUND) is State.DEGRADED
    assert worst([*FOUND, Finding("disk", State.CRITICAL, "full")]) == 2


def test_lines_say_state_name_and_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    assert show(FOUND, key="findings", json=False) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["ok       bus: reached at [host]:4222", "degraded clock: 2 s behind", "         -> run chrony"]


def test_json_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert show(FOUND, key="findings", json=True) == 1
    assert orjson.loads(capsys.readouterr().out) == {
        "healthy": False,
        "state": "degraded",
        "findings": [
            {"name": "bus", "healthy": True, "state": "ok", "says": "reached at [host]:4222"},
            {"name": "clock", "healthy": False, "state": "degraded", "says": "2 s behind", "remedy": "run chrony"},
        ],
    }

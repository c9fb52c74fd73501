from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from fluxforge.adapters.local_store import LocalStore
from fluxforge.domain.errors import SegmentCorruptError, UsageError
from fluxforge_cli.dead import app
from tests.unit.fluxforge_etl_worker.samples import LANE, SEGMENT, T0, Recording, manifest_of, stored, worker_on


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with one dead segment."""
    store = LocalStore(tmp_path, sync=False)
    recording = Recording()
    recording.ticker(T0, last=1.0)
    stored(store, recording.body, manifest_of(recording.body))
    worker_on(store).mark_dead(LANE, SEGMENT, SegmentCorruptError("key", "a", "b"))
    return tmp_path


def said(data: Path, *arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, [*arguments, "--data", str(data)], catch_exceptions=False)
    assert result.exit_code == code
    return result.output


def test_the_list_is_for_machines_too(data: Path) -> None:
    assert orjson.loads(said(data, "ls", "--json")) == [
        {
            "lane": str(LANE),
            "segment": SEGMENT,
            "created_ns": T0,
            "error": "SegmentCorruptError",
            "reason": "segment 'key' is corrupt: expected a, was b",
            "data": True,
            "manifest": True,
            "committed": False,
        }
    ]
    assert orjson.loads(said(data, "ls", "--json")) != []


def test_the_table_names_segment_and_reason(data: Path) -> None:
    text = said(data, "ls")
    assert SEGMENT in text
    assert "data, manifest" in text
    assert "1 segments cannot be processed" in text


def test_without_a_bus_it_says_who_takes_the_segment(data: Path) -> None:
    text = said(data, "retry", str(LANE), SEGMENT)
    assert f"{LANE} {SEGMENT}: the bus was not reached" in text
    assert "a worker finds it within a minute of its start" in text
    assert said(data, "ls", "--json") == "[]\n"


def test_of_all_what_cannot_be_tried_again_is_left_and_named(data: Path) -> None:
    worker_on(LocalStore(data, sync=False)).mark_dead(LANE, "gone", SegmentCorruptError("key", "a", "b"))
    text = said(data, "retry", "--all", code=1)
    assert f"left as it is: {LANE} gone: its data is gone" in text
    assert f"{LANE} {SEGMENT}: the bus was not reached" in text
    assert [mark["segment"] for mark in orjson.loads(said(data, "ls", "--json"))] == ["gone"]


def test_a_segment_given_up_is_no_longer_listed(data: Path) -> None:
    assert "given up, 1 rows of coverage name what it held" in said(data, "drop", str(LANE), SEGMENT)
    assert said(data, "ls", "--json") == "[]\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("retry",), "give LANE and SEGMENT, or --all"),
        (("retry", str(LANE)), "give LANE and SEGMENT, or --all"),
        (("retry", str(LANE), SEGMENT, "--all"), "give LANE and SEGMENT, or --all"),
        (("retry", str(LANE), "other"), "no mark says that it is dead"),
        (("drop", str(LANE), "other"), "no mark says that it is dead"),
        (("drop", "nolane", SEGMENT), "expected <source>-<exchange>-<shard>"),
        (("drop", str(LANE), "../../etc/passwd"), "segment"),
    ],
)
def test_what_cannot_be_meant_is_refused(data: Path, arguments: tuple[str, ...], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        said(data, *arguments)

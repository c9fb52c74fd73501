from pathlib import Path

import pytest

from fluxforge_cli.checkup.machine import judge_files, judge_room, judge_versions, packages
from fluxforge_cli.findings import State


@pytest.mark.parametrize(
    ("room", "state"),
    [
        ((10, 100), State.OK),
        ((9, 100), State.DEGRADED),
        ((2, 100), State.DEGRADED),
        ((1, 100), State.CRITICAL),
        ((0, 0), State.CRITICAL),
        (None, State.DEGRADED),
    ],
)
def test_a_disk_is_judged_by_its_free_share(room: tuple[int, int] | None, state: State) -> None:
    found = judge_room("scratch", Path("data"), room)
    assert found.state is state
    assert bool(found.remedy) is (state is not State.OK)


@pytest.mark.parametrize(("limit", "state"), [(256, State.DEGRADED), (1024, State.OK), (-1, State.OK)])
def test_too_few_open_files_are_named_with_where_to_change_that(limit: int, state: State) -> None:
    assert judge_files(limit).state is state


def test_packages_of_one_release_are_well_and_mixed_ones_are_not() -> None:
    assert packages().healthy
    mixed = judge_versions({"fluxforge": "0.2.0", "fluxforge-cli": "0.1.0"})
    assert (mixed.state, mixed.says) == (State.DEGRADED, "fluxforge 0.2.0, fluxforge-cli 0.1.0")

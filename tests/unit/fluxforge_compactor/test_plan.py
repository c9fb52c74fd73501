"""Which files are merged."""

from hypothesis import given
from hypothesis import strategies as st

from fluxforge_compactor.plan import Candidate, MergePolicy, plan

sizes = st.lists(st.integers(1, 1_000), max_size=60)
policies = st.builds(
    MergePolicy, min_count=st.integers(2, 5), target_count=st.integers(1, 5), size_bytes=st.integers(50, 2_000)
)


def files(found: list[int]) -> list[Candidate]:
    return [Candidate(f"part_{number:03d}", size, size, number) for number, size in enumerate(found)]


def after(found: list[Candidate], groups: list[tuple[Candidate, ...]]) -> list[Candidate]:
    gone = {file.name for group in groups for file in group}
    made = [
        Candidate(f"merged_{group[0].name}", sum(f.size_bytes for f in group), 0, group[0].first_us) for group in groups
    ]
    return [*(file for file in found if file.name not in gone), *made]


@given(found=sizes, policy=policies)
def test_neighbours_become_files_of_the_wanted_size_and_a_second_plan_is_empty(
    found: list[int], policy: MergePolicy
) -> None:
    groups = plan(reversed(files(found)), policy)
    merged = [file for group in groups for file in group]
    assert len({file.name for file in merged}) == len(merged)
    for group in groups:
        assert len(group) > 1
        assert sum(file.size_bytes for file in group) <= policy.size_bytes
        first = group[0].first_us
        assert [file.first_us for file in group] == list(range(first, first + len(group)))
    if len(found) < policy.min_count or len(found) <= policy.target_count:
        assert groups == []
    left = after(files(found), groups)
    assert len(left) <= len(found)


def test_small_files_become_as_many_as_are_wanted() -> None:
    policy = MergePolicy(min_count=2, target_count=1, size_bytes=10_000)
    (group,) = plan(files([10] * 50), policy)
    assert len(group) == 50
    assert [len(group) for group in plan(files([10] * 50), MergePolicy(2, 5, 10_000))] == [10] * 5


def test_a_file_that_has_its_size_is_left_alone() -> None:
    policy = MergePolicy(min_count=2, target_count=1, size_bytes=100)
    found = files([10, 10, 100, 10, 10])
    assert [[file.name for file in group] for group in plan(found, policy)] == [
        ["part_000", "part_001"],
        ["part_003", "part_004"],
    ]


@given(found=sizes, size_bytes=st.integers(50, 2_000))
def test_a_plan_for_what_a_plan_has_made_is_empty(found: list[int], size_bytes: int) -> None:
    policy = MergePolicy(min_count=2, target_count=1, size_bytes=size_bytes)
    left = files(found)
    for _ in range(8):
        groups = plan(left, policy)
        if not groups:
            break
        left = after(left, groups)
    assert plan(left, policy) == []


def test_files_of_different_columns_stay_apart() -> None:
    found = [Candidate(f"part_{n}", 10, 1, n, kind="new" if n > 2 else "old") for n in range(6)]
    groups = plan(found, MergePolicy(min_count=2, target_count=1, size_bytes=10_000))
    assert [{file.kind for file in group} for group in groups] == [{"old"}, {"new"}]
    assert [len(group) for group in groups] == [3, 3]

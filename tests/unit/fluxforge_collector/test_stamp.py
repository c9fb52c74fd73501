import itertools

from hypothesis import given
from hypothesis import strategies as st

from fluxforge.adapters.memory.clock import ManualClock
from fluxforge_collector.stamp import STEP_NS_MIN, Stamper

T = 1_765_288_800_000_000_000


def stamper(clock: ManualClock, last_ns: int = 0) -> tuple[Stamper, list[int]]:
    steps: list[int] = []
    return Stamper(clock, last_ns, steps.append), steps


def test_a_stamp_is_the_wall_time() -> None:
    clock = ManualClock(T, 5)
    made, steps = stamper(clock)
    clock.advance(1_000)
    assert made.rise(made.read()) == T + 1_000
    assert steps == []


def test_two_stamps_of_one_instant_differ_by_one() -> None:
    made, _ = stamper(ManualClock(T, 5))
    assert [made.rise(made.read()) for _ in range(3)] == [T, T + 1, T + 2]


def test_the_first_stamp_is_behind_the_lanes_last_message() -> None:
    made, _ = stamper(ManualClock(T, 5), last_ns=T + 9)
    assert made.rise(made.read()) == T + 10


def test_a_forward_step_is_reported_once_and_followed_at_once() -> None:
    clock = ManualClock(T, 5)
    made, steps = stamper(clock)
    clock.step_wall(STEP_NS_MIN)
    assert made.rise(made.read()) == T + STEP_NS_MIN
    assert made.rise(made.read()) == T + STEP_NS_MIN + 1
    assert steps == [STEP_NS_MIN]


def test_a_backward_step_is_reported_once_and_held_at_one_ns_until_the_wall_clock_caught_up() -> None:
    clock = ManualClock(T, 5)
    made, steps = stamper(clock)
    made.rise(made.read())
    clock.step_wall(-STEP_NS_MIN)
    assert [made.rise(made.read()) for _ in range(2)] == [T + 1, T + 2]
    clock.advance(STEP_NS_MIN + 1_000)
    assert made.rise(made.read()) == T + 1_000
    assert steps == [-STEP_NS_MIN]


def test_less_than_a_step_is_no_step() -> None:
    clock = ManualClock(T, 5)
    made, steps = stamper(clock)
    clock.step_wall(STEP_NS_MIN - 1)
    made.read()
    assert steps == []


def test_slewing_that_is_followed_never_adds_up_to_a_step() -> None:
    clock = ManualClock(T, 5)
    made, steps = stamper(clock)
    for _ in range(10):
        clock.step_wall(STEP_NS_MIN // 2)
        made.read()
        made.follow()
    assert steps == []


def test_being_scheduled_away_between_the_two_readings_is_no_step() -> None:
    class Interrupted(ManualClock):
        def wall_ns(self) -> int:
            self.advance(10 * STEP_NS_MIN)
            return super().wall_ns()

    made, steps = stamper(Interrupted(T, 5))
    made.read()
    assert steps == []


@given(st.lists(st.integers(-(10**10), 10**10), max_size=50))
def test_capture_times_rise_strictly_whatever_the_clock_does(moves: list[int]) -> None:
    clock = ManualClock(T, 5)
    made, _ = stamper(clock)
    times = []
    for move in moves:
        clock.step_wall(move)
        times.append(made.rise(made.read()))
    assert all(later > earlier for earlier, later in itertools.pairwise(times))

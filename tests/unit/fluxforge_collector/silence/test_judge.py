"""Silence is judged by what is usual: no alarm where nothing is wrong, and soon one where something is."""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxforge.domain.control import FeedKey
from fluxforge_collector.silence.judge import Judge
from fluxforge_collector.silence.limits import NS_PER_S, Link, Remedy, SilenceLimits, Verdict
from tests.unit.fluxforge_collector.silence.market import (
    BOOK,
    OTHER,
    TICKER,
    TRADES,
    constant,
    day,
    first_finding,
    ns,
    play,
    poisson,
    regular,
)

USUAL = 4.61
"""The 99 % quantile of a Poisson feed's gaps, in mean gaps."""
SLACK_S = 0.5


def both(number: int = 1) -> list[Link]:
    return [Link("wss://venue", number, (BOOK, TRADES))]


def one(feed: FeedKey = TRADES) -> list[Link]:
    return [Link("wss://venue", 1, (feed,))]


@pytest.mark.parametrize("rate_hz", [0.003, 0.03, 0.3, 1.0, 4.0])
def test_poisson_arrivals_of_a_constant_rate_raise_no_alarm_in_100_000_gaps(rate_hz: float) -> None:
    judge = Judge(SilenceLimits(floor_ns=0))
    found, until_s = play(judge, one(), constant(TRADES, rate_hz), count=100_000)
    assert until_s > 20_000
    assert not found


@settings(max_examples=30, deadline=None)
@given(st.floats(0.001, 50), st.floats(0.001, 50), st.integers(0, 2**32))
def test_no_two_poisson_feeds_raise_an_alarm_of_each_other(book_hz: float, trades_hz: float, seed: int) -> None:
    judge = Judge(SilenceLimits())
    arrivals = (constant(BOOK, book_hz, seed), constant(TRADES, trades_hz, seed + 1))
    assert not play(judge, both(), *arrivals, count=5_000)[0]


def test_two_feeds_of_a_symbol_raise_no_alarm_in_100_000_gaps() -> None:
    judge = Judge(SilenceLimits(floor_ns=0))
    arrivals = (constant(BOOK, 0.4), constant(TRADES, 0.2, 2))
    assert not play(judge, both(), *arrivals, count=100_000)[0]


@pytest.mark.parametrize("mean_hz", [0.02, 0.5])
@pytest.mark.parametrize("swing", [5, 20])
def test_nights_are_learned_while_they_fall(mean_hz: float, swing: float) -> None:
    judge = Judge(SilenceLimits())
    rate_hz = day(mean_hz, swing)
    arrivals = (poisson(BOOK, rate_hz, 2 * mean_hz, 1), poisson(TRADES, rate_hz, 2 * mean_hz, 2))
    found, until_s = play(judge, both(), *arrivals, count=round(1.5 * 86_400 * 2 * mean_hz))
    assert until_s > 86_400
    assert not found


def test_bursts_and_the_pauses_between_them_are_usual() -> None:
    chance, judge = random.Random(3), Judge(SilenceLimits())
    starts = itertools.accumulate(chance.expovariate(1 / 60) for _ in range(3_000))
    arrivals = ((start_s + step / 100, TRADES) for start_s in starts for step in range(8))
    assert not play(judge, one(), iter(sorted(arrivals)), count=24_000)[0]


def test_a_symbol_that_is_quiet_by_nature_is_left_alone() -> None:
    judge = Judge(SilenceLimits())
    found, until_s = play(judge, both(), constant(BOOK, 1.0), constant(TRADES, 1 / 1_200, 2), count=100_000)
    assert until_s > 86_400
    assert not found
    assert judge.limit_ns(TRADES) is None
    assert judge.verdict(TRADES, ns(until_s + 3_600)) is Verdict.QUIET


@settings(max_examples=50, deadline=None)
@given(st.floats(0.1, 20), st.integers(0, 2**32))
def test_a_book_that_dies_while_trades_print_is_noticed_within_a_few_usual_gaps(rate_hz: float, seed: int) -> None:
    judge = Judge(SilenceLimits())
    links = both()
    arrivals = (constant(BOOK, rate_hz, seed), constant(TRADES, rate_hz, seed + 1))
    found, until_s = play(judge, links, *arrivals, count=3_000)
    assert not found
    finding = first_finding(judge, links, constant(TRADES, rate_hz, seed + 1), from_s=until_s, until_s=until_s + 600)
    assert (finding.verdict, finding.remedy) == (Verdict.FEED_STALLED, Remedy.RESUBSCRIBE)
    assert finding.feeds == finding.news == (BOOK,)
    assert finding.silent_ns < ns(max(5, 4 * 2.5 * USUAL / rate_hz) + SLACK_S + 2 * USUAL / rate_hz)
    assert finding.around >= 3


def test_support_by_other_channels_shortens_the_wait() -> None:
    def noticed_ns(*living: FeedKey) -> int:
        judge, links = Judge(SilenceLimits()), [Link("x", 1, (BOOK, *living, OTHER))]
        speaking = [regular(feed, 1.0) for feed in (*living, OTHER)]
        _, until_s = play(judge, links, regular(BOOK, 1.0), *speaking, count=600)
        speaking = [regular(feed, 1.0) for feed in (*living, OTHER)]
        return first_finding(judge, links, *speaking, from_s=until_s, until_s=until_s + 100).silent_ns

    assert noticed_ns(TRADES, TICKER) < 0.8 * noticed_ns()


def test_a_connection_of_which_nothing_comes_is_found_before_its_feeds() -> None:
    judge, links = Judge(SilenceLimits()), [Link("x", 1, (BOOK, TRADES, OTHER))]
    feeds = [(BOOK, 0.5), (TRADES, 0.5), (OTHER, 0.5)]
    _, until_s = play(judge, links, *(constant(feed, rate, n) for n, (feed, rate) in enumerate(feeds)), count=3_000)
    finding = first_finding(judge, links, from_s=until_s, until_s=until_s + 300)
    assert (finding.verdict, finding.remedy) == (Verdict.CONNECTION_STALLED, Remedy.RECONNECT)
    assert finding.feeds == finding.news == (BOOK, TRADES, OTHER)
    assert finding.silent_ns < ns(6 * 1.6 * USUAL / 1.5 + SLACK_S)


def test_channels_that_fell_silent_soon_after_a_feed_say_nothing_of_it_alone() -> None:
    judge, links = Judge(SilenceLimits()), both()
    _, until_s = play(judge, links, regular(BOOK, 1.0), regular(TRADES, 0.5), count=900)
    for step in range(1, 61):  # a burst of trades right behind the last book, and then nothing of either
        judge.heard(TRADES, ns(until_s + step / 20))
    assert judge.verdict(BOOK, ns(until_s + 22)) is Verdict.HEALTHY
    judge.heard(TRADES, ns(until_s + 21))
    assert judge.verdict(BOOK, ns(until_s + 22)) is Verdict.FEED_STALLED


def test_a_connection_of_one_feed_is_replaced_at_once() -> None:
    judge = Judge(SilenceLimits())
    _, until_s = play(judge, one(), regular(TRADES, 0.5), count=200)
    finding = first_finding(judge, one(), from_s=until_s, until_s=until_s + 60)
    assert (finding.verdict, finding.remedy) == (Verdict.CONNECTION_STALLED, Remedy.RECONNECT)


def test_a_resubscription_in_vain_is_followed_by_one_reconnection_and_then_by_patience() -> None:
    judge, links = Judge(SilenceLimits()), both()
    play(judge, links, regular(BOOK, 0.5), regular(TRADES, 0.5), count=400)
    done, at_s = [], 100.0
    while at_s < 3_000:
        at_s += 0.25
        judge.heard(TRADES, ns(at_s))
        done += [(finding.remedy, bool(finding.news), at_s) for finding in judge.findings(links, ns(at_s))]
    assert [remedy for remedy, _, _ in done][:2] == [Remedy.RESUBSCRIBE, Remedy.RECONNECT]
    assert {remedy for remedy, _, _ in done[2:]} == {Remedy.RESUBSCRIBE}
    assert [news for _, news, _ in done] == [True] + [False] * (len(done) - 1)
    assert len(done) < 12


def test_a_market_that_stands_still_does_not_cost_its_neighbours_their_connection() -> None:
    judge, links = Judge(SilenceLimits()), [Link("x", 1, (BOOK, TRADES, OTHER))]
    speaking = [regular(feed, 0.5) for feed in (BOOK, TRADES, OTHER)]
    _, at_s = play(judge, links, *speaking, count=600)
    remedies = set()
    while at_s < 3_000:
        at_s += 0.25
        judge.heard(OTHER, ns(at_s))
        remedies |= {finding.remedy for finding in judge.findings(links, ns(at_s))}
    assert remedies == {Remedy.RESUBSCRIBE}


def test_a_silence_that_was_healed_is_not_learned_and_one_that_was_not_doubles_the_limit_at_most() -> None:
    for back_s, factor in ((0.2, 1.0), (200.0, 2.6)):
        judge = Judge(SilenceLimits())
        _, until_s = play(judge, both(), regular(BOOK, 1.0), regular(TRADES, 1.0), count=400)
        before_ns = judge.limit_ns(BOOK) or 0
        acted = first_finding(judge, both(), regular(TRADES, 1.0), from_s=until_s, until_s=until_s + 100)
        back_ns = ns(until_s + back_s) + acted.silent_ns
        judge.heard(BOOK, back_ns)
        judge.heard(BOOK, back_ns + ns(1))
        after_ns = judge.limit_ns(BOOK) or 0
        assert before_ns <= after_ns <= factor * before_ns
        assert judge.verdict(BOOK, back_ns + ns(1)) is Verdict.HEALTHY


BOOKS = (BOOK, OTHER, FeedKey("orderbook", "ETH-USDT"))
LOOK_NS = NS_PER_S // 4


@pytest.mark.parametrize("answer_s", [0.5, 2, 20])
def test_a_book_whose_stream_is_dead_stays_stalled_however_soon_each_remedy_is_answered(answer_s: float) -> None:
    judge, links, at_ns = Judge(SilenceLimits()), [Link("x", 1, BOOKS)], 0
    answers: list[int] = []
    done = []
    while at_ns < 3_600 * NS_PER_S:
        at_ns += LOOK_NS
        for feed in BOOKS:
            if feed is not BOOK or at_ns < 300 * NS_PER_S:
                judge.heard(feed, at_ns)
        if answers and answers[0] <= at_ns:  # a whole book by REST, and nothing behind it
            judge.heard(BOOK, answers.pop(0))
        for finding in judge.findings(links, at_ns):
            assert finding.feeds == (BOOK,)
            done.append((finding.remedy, finding.limit_ns))
            answers.append(at_ns + ns(answer_s))
    assert judge.verdict(BOOK, at_ns) is Verdict.FEED_STALLED
    assert [remedy for remedy, _ in done[:3]] == [Remedy.RESUBSCRIBE, Remedy.RECONNECT, Remedy.RESUBSCRIBE]
    assert max(limit_ns for _, limit_ns in done) < ns(max(10, 2 * answer_s))
    assert len(done) < 16


@pytest.mark.parametrize("back_s", [2, 60])
def test_a_connection_that_freezes_again_and_again_is_found_as_soon_as_the_first_time(back_s: float) -> None:
    judge, number, at_ns, found = Judge(SilenceLimits()), 1, 0, []
    freezes_ns, back_ns = 300 * NS_PER_S, 0
    while at_ns < 3 * 3_600 * NS_PER_S:
        at_ns += LOOK_NS
        if at_ns < back_ns:
            continue
        links = [Link("x", number, BOOKS)]
        if at_ns < freezes_ns:
            for feed in BOOKS:
                judge.heard(feed, at_ns, 3)
        for finding in judge.findings(links, at_ns):
            found.append(finding.silent_ns)
            number, back_ns = number + 1, at_ns + ns(back_s)
            freezes_ns = back_ns + 600 * NS_PER_S
    assert len(found) > 12
    assert max(found) < 10 * NS_PER_S


def test_a_feed_that_speaks_twice_after_its_remedy_is_healthy_again() -> None:
    judge = Judge(SilenceLimits())
    _, until_s = play(judge, both(), regular(BOOK, 1.0), regular(TRADES, 1.0), count=400)
    acted = first_finding(judge, both(), regular(TRADES, 1.0), from_s=until_s, until_s=until_s + 100)
    back_ns = ns(until_s + 0.2) + acted.silent_ns
    judge.heard(BOOK, back_ns)
    assert judge.verdict(BOOK, back_ns) is Verdict.FEED_STALLED
    judge.heard(BOOK, back_ns + ns(1))
    assert judge.verdict(BOOK, back_ns + ns(1)) is Verdict.HEALTHY
    again = first_finding(judge, both(), regular(TRADES, 1.0), from_s=until_s + 20, until_s=until_s + 100)
    assert (again.remedy, again.news) == (Remedy.RESUBSCRIBE, (BOOK,))


@pytest.mark.parametrize("every_s", [30.0, 120.0])
def test_a_market_that_slows_down_without_a_wrong_is_left_alone_before_long(every_s: float) -> None:
    judge, at_ns, done = Judge(SilenceLimits()), 0, []
    links = [Link("x", 1, (BOOK, OTHER))]
    while at_ns < 4 * 3_600 * NS_PER_S:
        at_ns += LOOK_NS
        judge.heard(OTHER, at_ns)
        slow_s = 1.0 if at_ns < 300 * NS_PER_S else every_s
        if at_ns % ns(slow_s) == 0:
            judge.heard(BOOK, at_ns)
        for finding in judge.findings(links, at_ns):
            done.append(at_ns)
            if finding.remedy is Remedy.RECONNECT:
                links = [Link("x", links[0].number + 1, (BOOK, OTHER))]
    assert len(done) < 40
    assert max(done) < 3 * 3_600 * NS_PER_S


def test_a_new_connection_is_given_time_to_subscribe() -> None:
    judge = Judge(SilenceLimits())
    play(judge, both(), regular(BOOK, 0.5), regular(TRADES, 0.5), count=400)
    assert not judge.findings(both(2), ns(1_000))
    assert not judge.findings(both(2), ns(1_015))
    assert judge.findings(both(2), ns(1_030))


def test_a_fixed_limit_holds_for_every_feed_heard_or_not() -> None:
    judge = Judge(SilenceLimits(fixed_ns=20 * NS_PER_S))
    links = both()
    assert not judge.findings(links, 0)
    for at_s in range(1, 31):
        judge.heard(BOOK, ns(at_s))
        assert not judge.findings(links, ns(at_s))
    assert not judge.findings(links, ns(32) - 1)
    judge.heard(BOOK, ns(32))
    (finding,) = judge.findings(links, ns(32) + 1)
    assert (finding.feeds, finding.limit_ns) == ((TRADES,), 20 * NS_PER_S)
    (finding,) = [each for each in judge.findings(links, ns(52) + 1) if BOOK in each.feeds]
    assert finding.verdict is Verdict.CONNECTION_STALLED


def test_a_feed_that_is_hardly_known_is_not_judged() -> None:
    judge = Judge(SilenceLimits())
    play(judge, both(), regular(BOOK, 0.5), constant(TRADES, 0.02), count=2_00)
    assert judge.verdict(TRADES, ns(10_000)) is Verdict.QUIET
    assert judge.verdict(FeedKey("trades", "NEW-USDT"), ns(10_000)) is Verdict.QUIET


def test_the_time_in_which_nobody_listened_to_a_feed_is_no_silence_of_it() -> None:
    judge = Judge(SilenceLimits())
    play(judge, both(), regular(BOOK, 0.5), regular(TRADES, 0.5), count=400)
    for at_s in range(201, 1_000):
        judge.heard(TRADES, ns(at_s))
    judge.joined(BOOK, ns(1_000))
    assert not judge.findings(both(), ns(1_000) + 1)

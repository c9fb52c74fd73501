from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluxforge_etl_worker.features.registry import structural_features
from tests.unit.fluxforge_etl_worker import oracle
from tests.unit.fluxforge_etl_worker.samples import S, forged, options
from tests.unit.fluxforge_etl_worker.stories import Story, compare, record, stories

SLOW = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def _last_seqs(story: Story):
    from fluxforge.domain.segment import FeedLast  # noqa: PLC0415

    return [FeedLast("trades", "BTC-USDT", "x", 1)] if story.trades is not None else []


def _previous(story: Story):
    from fluxforge.domain.segment import PreviousSegment  # noqa: PLC0415

    return PreviousSegment("before", 1, story.lower) if story.lower is not None else None


@SLOW
@given(story=stories(), interval_ns=st.sampled_from([0, S, S // 4, 60 * S]), chunk_bytes=st.sampled_from([97, 1 << 20]))
def test_every_feature_and_bar_is_what_the_oracle_says(story, interval_ns, chunk_bytes):
    chosen = options(hf_interval_ns=interval_ns)
    body = record(story).body
    result = forged(
        body,
        chosen,
        chunk_bytes=chunk_bytes,
        previous=_previous(story),
        last=story.upper,
        final=story.final,
        last_seqs=_last_seqs(story),
    )
    assert result.bad == ()
    compare(result, story, chosen)


def test_the_oracle_knows_every_structural_column():
    row = oracle.structural(oracle.Update(0, [(1.0, 1.0)], [(2.0, 1.0)]))
    assert set(row) == {feature.name for feature in structural_features(10)}

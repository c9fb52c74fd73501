from dataclasses import replace

import pytest

from fluxforge.domain.commit import CommitRecord
from fluxforge_etl_worker.retire import Retirement
from tests.unit.fluxforge_etl_worker.samples import LANE, SEGMENT, manifest_of

SEALED = manifest_of(b"")
ADOPTED = replace(SEALED, epoch=0)
PLAIN = CommitRecord(str(LANE), SEGMENT, SEALED.identity, 1, (), 0, 0, (), 1, 1, "test", 1)
WITHOUT_TRADES = replace(PLAIN, disabled_channels=("trades",))


@pytest.mark.parametrize(
    ("retirement", "manifest", "commit", "goes"),
    [
        (Retirement(), SEALED, PLAIN, False),
        (Retirement(sealed=True), SEALED, PLAIN, True),
        (Retirement(sealed=True), ADOPTED, PLAIN, False),
        (Retirement(adopted=True), ADOPTED, PLAIN, True),
        (Retirement(adopted=True), SEALED, PLAIN, False),
        (Retirement(sealed=True), SEALED, WITHOUT_TRADES, False),
        (Retirement(sealed=True, with_disabled=True), SEALED, WITHOUT_TRADES, True),
        (Retirement(sealed=True, adopted=True), ADOPTED, WITHOUT_TRADES, False),
    ],
)
def test_what_was_put_there_by_hand_or_stands_nowhere_else_stays(retirement, manifest, commit, goes):
    assert retirement.allows(manifest, commit) is goes

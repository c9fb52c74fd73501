"""The manual of feature rows: docs/features.md, written from the registry.

`python -m fluxforge_etl_worker.manual > docs/features.md` writes it anew.
"""

import sys
from collections.abc import Iterable
from itertools import groupby
from typing import Final

from fluxforge.runtime.settings import BookProcessorOptions
from fluxforge_etl_worker.features.registry import (
    FEATURE_VERSION,
    KYLE_HORIZON_S_MIN,
    Feature,
    streaming_features,
    structural_features,
)
from fluxforge_etl_worker.schemas import hf_schema

_NAMES_MAX: Final = 4

_HEAD: Final = """\
# The columns of `orderbook/hf`

<!-- Written by `python -m fluxforge_etl_worker.manual > docs/features.md`; a test holds it against the code. -->

`feature_version` {version}: it stands in every part's metadata (`fluxforge.feature_version`) and rises with any
change of a name, a type or a formula. A row has {columns} columns with the default options: {keys} keys
([dataset.md](formats/dataset.md)), then {features} features in the order of this page, {structural} from one book and
{streaming} over rolling windows. Options (`processor_options`): `max_levels` = number of `_L` columns of each kind,
`horizons` = windows.

Prices are in quote currency, sizes in base currency (contracts where the venue quotes contracts). Level i of a side
has price `p_i` and size `q_i` (`pb`, `qb` bids; `pa`, `qa` asks); i = 0 is the touch; levels of size 0 do not exist.
`d_i = abs(p_i - mid) / mid x 10^4`. A book is valid when both sides have a level, every price is above 0 and
`pb_0 < pa_0`; others make no row and are listed in `coverage`. A null is never a zero: it is what cannot be known; 0
is what was seen to be nothing. Where a formula has no value in floating point (a quotient of what vanishes or
overflows) the column is null too.

## From one book
"""

_WINDOWS: Final = """\

## Over rolling windows

**Windows.** `(t - h, t]` on `capture_ns`, t the row's own time `ts` (the grid boundary; with `hf_emit_interval: 0`
the update's own time, to the nanosecond). A row sees nothing that was captured after t, control records included. "As
of x" is the last valid update in `(x - asof_tolerance, x]`.

**Observed.** A window is observed when there is an as-of for t - h and the book feed is nowhere unsound in the
window: from a gap, stall, disconnection, drop, start or stop until it is resynced or recovered. What lies in an
unobserved window is not guessed: null. Trade features besides need the trades feed known at t - h (a record of it
before, or its `recovered` within the tolerance) and sound throughout; where trades are not captured they are null
throughout. An observed window that held nothing gives 0. Trades that were sent again or backfilled take no part.

**Per update n.** `r_n = ln(mid_n / mid_(n-1))`. `e_n^i = 1[pb_n >= pb_(n-1)] qb_n - 1[pb_n <= pb_(n-1)] qb_(n-1) -
1[pa_n <= pa_(n-1)] qa_n + 1[pa_n >= pa_(n-1)] qa_(n-1)` at level i, and `e_n = e_n^0` (Cont, Kukanov, Stoikov 2014;
over levels: Xu, Gould, Howison 2018, the decay is ours). Neither is defined where the update before is further away
than `asof_tolerance` or the feed was unsound between them; a sum leaves such terms out. At i > 0 a level counts when
both books have it on both sides.

**The slope on trades** (`trade_kyle_lambda`, horizons of {kyle} s and more) is taken over the h sub-intervals
`(t - j - 1 s, t - j s]` of a window: signed volume = bought - sold, mid change = as of its end - as of its start. "The
same" means: up to 10^-14 of the window's volume, which is what rounding leaves.

**Sums do not depend on where a segment was cut.** A window is added up from whole seconds of absolute time and what
it holds of the first and the last one, never as a difference of running sums: the same terms in the same order,
whatever stood before, and no low bits lost to it.
"""


def manual(options: BookProcessorOptions) -> str:
    """Return the page for these options."""
    structural, streaming = structural_features(options.max_levels), streaming_features(tuple(options.horizons))
    keys = len(hf_schema(()))
    head = _HEAD.format(
        version=FEATURE_VERSION,
        columns=keys + len(structural) + len(streaming),
        keys=keys,
        features=len(structural) + len(streaming),
        structural=len(structural),
        streaming=len(streaming),
    )
    return head + _table(structural) + _WINDOWS.format(kyle=KYLE_HORIZON_S_MIN) + "\n" + _table(streaming)


def _table(features: Iterable[Feature]) -> str:
    """Return a row per run of columns that differ in nothing but their names, or in names and level."""
    lines = ["| columns | type | unit | formula | null when |", "|---|---|---|---|---|"]
    for _, group in groupby(features, key=_kind):
        run = list(group)
        first, last = run[0], run[-1]
        names = (
            ", ".join(f"`{feature.name}`" for feature in run)
            if len(run) <= _NAMES_MAX
            else f"`{first.name}` .. `{last.name}`"
        )
        formula = first.formula if first.formula == last.formula else f"{first.formula} .. {last.formula}"
        lines.append(f"| {names} | {first.dtype} | {first.unit} | {formula} | {first.nulls} |")
    return "\n".join(lines) + "\n"


def _kind(feature: Feature) -> tuple[str, ...]:
    """Return what columns share that stand in one row of the table."""
    stem, _, level = feature.name.rpartition("_L")
    formula = stem if stem.endswith(("_size", "_price")) and level.isdigit() else feature.formula
    return feature.dtype, feature.unit, formula, feature.nulls


if __name__ == "__main__":
    sys.stdout.write(manual(BookProcessorOptions()))

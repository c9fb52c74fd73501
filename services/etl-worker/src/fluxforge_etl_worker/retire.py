"""Retiring: whether the raw bytes of a segment may go once its parts stand in their place. Pure.

Only data is ever deleted: the manifest stays as the record of what was sealed.
"""

from dataclasses import dataclass

from fluxforge.domain.commit import CommitRecord
from fluxforge.domain.segment import Manifest


@dataclass(frozen=True, slots=True)
class Retirement:
    """Which segments' data is deleted: what the segmenter sealed, what a person put there by hand.

    `with_disabled`: even where it holds records of a channel that is disabled, which stand nowhere else.
    """

    sealed: bool = False
    adopted: bool = False
    with_disabled: bool = False

    def allows(self, manifest: Manifest, commit: CommitRecord) -> bool:
        """Return whether the data of this segment may be deleted; an adopted one has epoch 0.

        Never that of a segment which a person gave up: it stands nowhere else, and nothing may read it.
        """
        if commit.dropped:
            return False
        is_wanted = self.adopted if manifest.epoch == 0 else self.sealed
        return is_wanted and (self.with_disabled or not commit.disabled_channels)

"""Lane state: the one small value per lane by which its segmenter knows where it stands; written by compare-and-set."""

from dataclasses import asdict, dataclass, replace
from typing import Final, Self

import orjson

from fluxforge.domain.errors import ManifestError
from fluxforge.domain.segment import SegmentIdentity

RECENT_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class Sealing:
    """A seal on its way: what the object under `name` must be. Stream range inclusive; `created_ns` ns UTC."""

    name: str
    epoch: int
    first: int
    last: int
    size_bytes: int
    sha256: str
    created_ns: int

    @property
    def identity(self) -> SegmentIdentity:
        """What makes a segment the one that this seal names."""
        return SegmentIdentity(self.epoch, self.first, self.last, self.sha256)


@dataclass(frozen=True, slots=True)
class LaneState:
    """Where a lane stands. `epoch` 0: no stream was opened yet. `sealed_seq`: last sealed sequence of the epoch."""

    epoch: int = 0
    owner: str | None = None
    sealed_seq: int = 0
    hour: str = ""
    counter: int = 0
    last_capture_ns: int = 0
    sealing: Sealing | None = None
    recent: tuple[Sealing, ...] = ()

    @property
    def claimed_seq(self) -> int:
        """Last sequence of the epoch that is sealed or about to be: who writes goes on behind it, or not at all."""
        sealing = self.sealing
        return max(self.sealed_seq, sealing.last if sealing and sealing.epoch == self.epoch else 0)

    def to_json(self) -> bytes:
        """Return the value as it stands in the key-value bucket."""
        return orjson.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """Return the state of its value.

        Raises:
            ManifestError: Not a lane state.
        """
        try:
            raw = orjson.loads(text)
            sealing = raw.pop("sealing")
            recent = raw.pop("recent")
            return cls(
                sealing=Sealing(**sealing) if sealing else None, recent=tuple(Sealing(**r) for r in recent), **raw
            )
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise ManifestError("lane state", str(error)) from error

    def sealed(self, last_capture_ns: int) -> Self:
        """Return the state after the seal on its way has been carried out."""
        if self.sealing is None:
            raise ManifestError("lane state", "no seal is on its way")
        return replace(
            self,
            sealed_seq=self.sealing.last,
            last_capture_ns=last_capture_ns,
            recent=(*self.recent, self.sealing),
            sealing=None,
        )

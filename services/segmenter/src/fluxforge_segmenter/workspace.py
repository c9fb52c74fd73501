"""The lane's workspace on local disk: one folder per owner under `raw/active`, so that no two owners share a file."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fluxforge.domain.errors import ManifestError, StoreUnavailableError
from fluxforge.domain.lane_state import Sealing
from fluxforge.domain.segment import Manifest, SegmentIdentity
from fluxforge_segmenter.compression import Compression, digest_of
from fluxforge_segmenter.contents import Contents, Digest
from fluxforge_segmenter.open_segment import Finished, OpenSegment, Sync, read_manifest, stem

_CHUNK_BYTES: Final = 4 << 20


def identity_of(sealing: Sealing) -> SegmentIdentity:
    """Return what makes a segment the one that this seal names."""
    return SegmentIdentity(sealing.epoch, sealing.first, sealing.last, sealing.sha256)


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where one owner writes the open segments of one lane. `root` holds the folders of all owners."""

    root: Path
    owner: str
    compression: Compression
    sync: Sync

    def open(self, contents: Contents, compression: Compression | None = None) -> OpenSegment:
        """Return a new open segment; nothing is written before its first `write`."""
        return OpenSegment(self.root / self.owner, contents, compression or self.compression, self.sync)

    def find(self, sealing: Sealing) -> Finished | None:
        """Return the file that some owner finished for this seal, if it is whole; reads it."""
        for path in self.root.glob(f"*/{stem(sealing.epoch, sealing.first)}.ndjson*"):
            for compression in Compression:
                manifest = _manifest(path) if path.name.endswith(f"{compression.suffix}") else None
                if manifest is None or manifest.identity != identity_of(sealing):
                    continue
                if digest_of(_chunks(path), compression) == Digest(sealing.size_bytes, sealing.sha256):
                    return Finished(path, manifest)
        return None

    def sweep(self) -> None:
        """Remove what older owners left; the stream holds all of it that is not sealed.

        Raises:
            StoreUnavailableError: Something could not be removed.
        """
        try:
            for folder in self.root.iterdir() if self.root.is_dir() else ():
                if folder.name != self.owner:
                    shutil.rmtree(folder)
        except OSError as error:
            raise StoreUnavailableError("sweep", str(self.root), str(error)) from error


def _manifest(path: Path) -> Manifest | None:
    try:
        return read_manifest(path)
    except ManifestError:
        return None  # torn by a crash: the file beside it is rebuilt from the stream


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk

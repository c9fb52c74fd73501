"""The lane's workspace on local disk: one folder per owner under `raw/active`, so that no two owners share a file."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from fluxforge.domain.errors import ManifestError, StoreUnavailableError
from fluxforge.domain.lane_state import Sealing
from fluxforge.domain.layout import DATA_SUFFIXES
from fluxforge.domain.segment import Manifest
from fluxforge_segmenter.compression import Compression
from fluxforge_segmenter.contents import Contents
from fluxforge_segmenter.open_segment import Finished, OpenSegment, Sync, read_manifest, stem


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
            manifest = _manifest(path) if path.name.endswith(DATA_SUFFIXES) else None
            if manifest is None or manifest.identity != sealing.identity:
                continue
            finished = Finished(path, manifest)
            if manifest.size_bytes == sealing.size_bytes and finished.is_whole():
                return finished
        return None

    def finished(self) -> list[Manifest]:
        """Return the manifests of all files that any owner finished; whether a file is whole, `find` tells."""
        found = [_manifest(path) for suffix in DATA_SUFFIXES for path in self.root.glob(f"*/*{suffix}")]
        return [manifest for manifest in found if manifest is not None]

    def sweep(self) -> None:
        """Remove what older owners left; the stream holds all of it that is not sealed.

        What a younger owner has is left alone: whoever comes here late may have lost the lane to it.

        Raises:
            StoreUnavailableError: Something could not be removed.
        """
        try:
            for folder in self.root.iterdir() if self.root.is_dir() else ():
                if _number(folder.name) < _number(self.owner):
                    shutil.rmtree(folder)
        except OSError as error:
            raise StoreUnavailableError("sweep", str(self.root), str(error)) from error


def newest_owner(root: Path) -> int:
    """Return the highest number among the owners that have a folder; 0 where there is none."""
    return max((_number(folder.name) for folder in root.iterdir()), default=0) if root.is_dir() else 0


def _number(owner: str) -> int:
    number = owner.partition("-")[0]
    return int(number) if number.isdigit() else 0


def _manifest(path: Path) -> Manifest | None:
    try:
        return read_manifest(path)
    except (ManifestError, OSError):
        return None  # torn by a crash, or on a bad sector: the file beside it is rebuilt from the stream

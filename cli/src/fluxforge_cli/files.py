"""Files of a store as libraries of the Parquet world reach them: on a disk by path, on S3 through Arrow's own client.

Reads only. DuckDB gets Arrow's client as a file system, so that no extension has to be fetched for S3.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fluxforge.adapters.stores import s3_options
from fluxforge.domain.errors import ConfigurationError
from fluxforge.runtime.live import live_keys
from fluxforge.runtime.settings import Backend, S3Location, StoreLocation

if TYPE_CHECKING:
    import duckdb
    from pyarrow.fs import FileSystem

_SCHEME = "s3://"


@dataclass(frozen=True, slots=True)
class Files:
    """What is below `root` in a file system; `root` is a directory, or a bucket and a prefix in it.

    `live`: yields the paths that count below a path, where not all that stand there do; `path` is that of the root.
    """

    filesystem: "FileSystem"
    root: str
    live: Callable[[str], Iterator[str]] | None = None
    path: str = ""

    @property
    def url(self) -> str:
        """The root, as DuckDB is told of it."""
        return f"{_SCHEME}{self.root}" if self.filesystem.type_name == "s3" else self.root

    def below(self, name: str) -> "Files":
        """Return what is below a path in it."""
        return replace(self, root=f"{self.root}/{name}", path=f"{self.path}/{name}".lstrip("/"))

    def parquet(self) -> list[str]:
        """Return what DuckDB reads: a pattern, or the files that count, each by its URL."""
        if self.live is None:
            return [f"{self.url}/**/*.parquet"]
        base = self.url.removesuffix(self.path)
        return [f"{base}{key}" for key in self.live(self.path)]

    def directories(self) -> list[str]:
        """Return the names of the directories directly below the root, in order."""
        return [name for name, is_file in self._entries() if not is_file]

    def first_file(self, suffix: str) -> str | None:
        """Return the path below the root of one file of this suffix, None where there is none at any depth."""
        for name, is_file in self._entries():
            below = None if is_file else self.below(name).first_file(suffix)
            if below is not None:
                return f"{name}/{below}"
            if is_file and name.endswith(suffix):
                return name
        return None

    def register(self, database: "duckdb.DuckDBPyConnection") -> None:
        """Let a database reach the files by their `url`."""
        if self.filesystem.type_name == "s3":
            from fsspec.implementations.arrow import ArrowFSWrapper  # noqa: PLC0415 - heavy

            database.register_filesystem(ArrowFSWrapper(self.filesystem))

    def _entries(self) -> list[tuple[str, bool]]:
        """Return name and whether it is a file of all that is directly below the root, in order."""
        from pyarrow.fs import FileSelector  # noqa: PLC0415 - heavy

        found = self.filesystem.get_file_info(FileSelector(self.root, allow_not_found=True))
        return sorted((str(info.base_name), bool(info.is_file)) for info in found)


def local_files(directory: Path) -> Files:
    """Return what is below a directory."""
    from pyarrow.fs import LocalFileSystem  # noqa: PLC0415 - heavy

    return Files(LocalFileSystem(), str(directory.absolute()))


def files_of(location: StoreLocation) -> Files:
    """Return the files of a store.

    Raises:
        ConfigurationError: Its endpoint is no URL.
    """
    if location.backend is Backend.LOCAL or location.s3 is None:
        return local_files(location.base_dir)
    return _s3_files(location.s3)


def _s3_files(location: S3Location) -> Files:
    from pyarrow.fs import S3FileSystem  # noqa: PLC0415 - heavy

    from fluxforge.adapters.s3 import S3Store  # noqa: PLC0415 - heavy

    endpoint = urlsplit(location.endpoint_url or "https://")
    if endpoint.scheme not in {"http", "https"}:
        was = location.endpoint_url
        raise ConfigurationError(f"s3.endpoint_url: expected http://host:port or https://host:port, was {was!r}")
    options = s3_options(location)
    filesystem = S3FileSystem(
        access_key=options.access_key_id,
        secret_key=options.secret_access_key,
        region=options.signing_region,
        endpoint_override=endpoint.netloc or None,
        scheme=endpoint.scheme,
        force_virtual_addressing=options.is_virtual,
    )
    prefix = location.prefix.strip("/")
    live = partial(live_keys, S3Store(options), follows_journal=True)
    return Files(filesystem, f"{location.bucket}/{prefix}".rstrip("/"), live)

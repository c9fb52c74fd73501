"""Where datasets stand: their store, and what else is needed to read them with polars and to change them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Final

from fluxforge.adapters.local_partitions import LocalPartitions
from fluxforge.adapters.local_store import LocalStore
from fluxforge.adapters.stores import open_partitions, open_store, s3_options
from fluxforge.adapters.system_clock import SystemClock
from fluxforge.dataset.edit import Editor
from fluxforge.dataset.rewrite.candidates import Looker
from fluxforge.dataset.rewrite.rewriter import Rewriter
from fluxforge.domain.layout import Layout
from fluxforge.ports.partitions import Partitions
from fluxforge.ports.store import Store
from fluxforge.runtime.settings import Settings

_COMPRESSION: Final = "zstd"
_SOFTWARE: Final = f"fluxforge {version('fluxforge')}"


@dataclass(frozen=True, slots=True)
class Place:
    """The datasets below `layout.processed_dir` of `store`. `raw`: the segments' store, which says what is placed.

    `url` and `options` are what polars is told of the store.
    """

    store: Store
    raw: Store
    partitions: Partitions
    layout: Layout
    url: str
    options: Mapping[str, str] = field(default_factory=dict)
    compression: str = _COMPRESSION

    @classmethod
    def at(cls, directory: Path, processed_dir: str) -> "Place":
        """Return the place of datasets below a directory, beside the segments that they were made of."""
        store = LocalStore(directory)
        return cls(store, store, LocalPartitions(store), Layout(processed_dir=processed_dir), str(directory))

    @classmethod
    def of(cls, settings: Settings) -> "Place":
        """Return the place of a configuration."""
        storage = settings.storage
        location = storage.etl_storage_output
        options, url = {}, str(location.base_dir.absolute())
        store = open_store(location)
        if location.s3 is not None and not isinstance(store, LocalStore):
            s3 = s3_options(location.s3)
            access = {
                "aws_access_key_id": s3.access_key_id,
                "aws_secret_access_key": s3.secret_access_key,
                "aws_region": s3.signing_region,
                "aws_endpoint_url": s3.endpoint_url,
                "aws_allow_http": "true" if (s3.endpoint_url or "").startswith("http://") else None,
                "aws_virtual_hosted_style_request": str(s3.is_virtual).lower(),
            }
            url = f"s3://{s3.bucket}/{s3.prefix.strip('/')}".rstrip("/")
            options = {name: value for name, value in access.items() if value is not None}
        return cls(
            store=store,
            raw=open_store(storage.etl_storage_input),
            partitions=open_partitions(location, storage.scratch_dir),
            layout=settings.layout,
            url=url,
            options=options,
            compression=settings.etl.compression,
        )

    def editor(self) -> Editor:
        """Return what changes the datasets.

        Raises:
            ConfigurationError: Files cannot be replaced here.
        """
        looker = Looker(self.raw, self.store, self.layout)
        editor = Editor(
            Rewriter(looker, self.partitions, SystemClock(), compression=self.compression, software=_SOFTWARE)
        )
        editor.probe()
        return editor

"""Errors, sorted by what the caller should do.

FluxForgeError
├── TransientError              retry with backoff; nothing is lost meanwhile
│   ├── BusUnavailableError
│   └── StoreUnavailableError
├── PermanentError              never heals by retrying: quarantine, dead-letter or refuse
│   ├── RecordError             one line that is not a record
│   ├── ManifestError           a manifest or commit record that cannot be read
│   ├── SegmentCorruptError     bytes that differ from what was sealed
│   ├── BlockTooLargeError      a block the bus would refuse; whoever cuts blocks cuts below the limit
│   └── SchemaMismatchError     a part that would break its dataset's schema
├── UsageError                  exit code 2: the person must change the configuration or the call
│   ├── ConfigurationError
│   │   ├── PartitionSchemaError  options that would break the schema of what stands in a partition
│   │   └── BusNotDurableError  the bus acknowledges before it syncs
│   ├── NameRefusedError
│   └── InputFileError          a file the person named that cannot be taken in
├── ConflictError               somebody else wrote first; read again before anything else
│   ├── StateConflictError
│   └── ObjectExistsError
├── ObjectNotFoundError
└── FatalError                  end the process; a supervisor starts it again by the normal path
    ├── FencedError             another writer holds the lane
    ├── LaneBrokenError         the stream is not what the lane state says; nothing was dropped
    │   ├── LaneMovedError      the stream takes no more blocks; the lane goes on in a newer epoch
    │   ├── BlocksLostError     the stream lost blocks that it had acknowledged
    │   └── SequenceGoneError   part of a stream that nobody will ever read again
    └── DurabilityError         an fsync failed: what was written cannot be trusted
"""

from collections.abc import Callable

from typing_extensions import override


class FluxForgeError(Exception):
    """Any error FluxForge raises on purpose. It crosses process boundaries with its fields."""

    @override
    def __reduce__(self) -> tuple[Callable[..., "FluxForgeError"], tuple[object, ...]]:
        """Return how to make it again elsewhere: not through the constructor, which takes fields and not the text."""
        return _made_again, (type(self), self.args, self.__dict__)


class TransientError(FluxForgeError):
    """May heal by itself: retry with backoff."""


class BusUnavailableError(TransientError):
    """The bus did not answer; the outcome of the operation is unknown."""

    def __init__(self, operation: str, reason: str) -> None:
        super().__init__(f"bus unavailable during {operation}: {reason}")
        self.operation = operation
        self.reason = reason


class StoreUnavailableError(TransientError):
    """The store could not carry out an operation; the object is as it was."""

    def __init__(self, operation: str, key: str, reason: str) -> None:
        super().__init__(f"store unavailable during {operation} of {key!r}: {reason}")
        self.operation = operation
        self.key = key
        self.reason = reason


class PermanentError(FluxForgeError):
    """Never heals by retrying."""


class RecordError(PermanentError):
    """A line that is not a record; `reason` is a short stable phrase used in quarantine."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ManifestError(PermanentError):
    """A manifest, commit record or lane state that cannot be read."""

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(f"{what}: {reason}")
        self.what = what
        self.reason = reason


class SegmentCorruptError(PermanentError):
    """A sealed segment whose bytes differ from its manifest."""

    def __init__(self, key: str, expected: str, was: str) -> None:
        super().__init__(f"segment {key!r} is corrupt: expected {expected}, was {was}")
        self.key = key
        self.expected = expected
        self.was = was


class BlockTooLargeError(PermanentError):
    """A block that is larger, headers included, than the bus takes; it was not sent."""

    def __init__(self, block: str, size_bytes: int, size_bytes_max: int) -> None:
        super().__init__(f"block {block} has {size_bytes} bytes with its headers, the bus takes {size_bytes_max}")
        self.block = block
        self.size_bytes = size_bytes
        self.size_bytes_max = size_bytes_max


class SchemaMismatchError(PermanentError):
    """A table that does not have its dataset's schema; it was not written."""

    def __init__(self, dataset: str, expected: str, was: str) -> None:
        super().__init__(f"dataset {dataset!r}: expected {expected}, was {was}")
        self.dataset = dataset


class UsageError(FluxForgeError):
    """The configuration or the call is wrong; the message says what would be right. Exit code 2."""


class ConfigurationError(UsageError):
    """A configuration that cannot be used."""


class PartitionSchemaError(ConfigurationError):
    """A part of another schema than those in its partition. Its segment is sound: only options or a version changed."""

    def __init__(self, dataset: str, expected: str, was: str) -> None:
        super().__init__(f"dataset {dataset!r}: expected {expected}, was {was}")
        self.dataset = dataset


class PartitionChangedError(TransientError):
    """What was to be replaced in a partition is not what stands there any more; nothing was changed. Plan anew."""

    def __init__(self, partition: str, what: str) -> None:
        super().__init__(f"partition {partition!r}: {what}")
        self.partition = partition


class FileUnreadableError(PermanentError):
    """A file of a dataset that is damaged, or that nobody may read; it stays as it is."""

    def __init__(self, key: str, why: str) -> None:
        super().__init__(f"file {key!r} cannot be read: {why}; it stays as it is")
        self.key = key


class BusNotDurableError(ConfigurationError):
    """A bus that acknowledges before it syncs, where the configuration does not accept that."""


class NameRefusedError(UsageError):
    """A name that may not stand in a path, subject or column."""

    def __init__(self, what: str, name: str, reason: str) -> None:
        super().__init__(f"{what} {name!r} refused: {reason}")
        self.name = name
        self.reason = reason
        self.reason = reason


class InputFileError(UsageError):
    """A file that a person named and that cannot be taken in; nothing of it was."""

    def __init__(self, file: str, reason: str) -> None:
        super().__init__(f"{file}: {reason}")
        self.file = file
        self.reason = reason


class ConflictError(FluxForgeError):
    """Somebody else wrote first; nothing of ours was written."""


class StateConflictError(ConflictError):
    """A compare-and-set found another revision."""

    def __init__(self, key: str, expected_revision: int) -> None:
        super().__init__(f"state {key!r} is no longer at revision {expected_revision}")
        self.key = key
        self.expected_revision = expected_revision


class ObjectExistsError(ConflictError):
    """A create met an object of the same key; it was left as it is."""

    def __init__(self, key: str) -> None:
        super().__init__(f"object {key!r} exists already")
        self.key = key


class ObjectNotFoundError(FluxForgeError):
    """No object has this key."""

    def __init__(self, key: str) -> None:
        super().__init__(f"object {key!r} does not exist")
        self.key = key


class FatalError(FluxForgeError):
    """End the process with a non-zero exit; start again by the normal path."""


class FencedError(FatalError):
    """Another writer holds the lane; nothing of ours was written after it took over."""

    def __init__(self, lane: str, found: str) -> None:
        super().__init__(f"lane {lane} is held by another writer: {found}")
        self.lane = lane
        self.found = found


class LaneBrokenError(FatalError):
    """A lane whose stream is not what its state says; nothing was dropped."""

    def __init__(self, lane: str, found: str) -> None:
        super().__init__(f"lane {lane} cannot go on: {found}")
        self.lane = lane
        self.found = found


class SequenceGoneError(LaneBrokenError):
    """A range of a stream (inclusive) that holds no blocks, or none any more; what stands behind it can be read."""

    def __init__(self, lane: str, found: str, first: int, last: int) -> None:
        super().__init__(lane, found)
        self.first = first
        self.last = last


class LaneMovedError(LaneBrokenError):
    """A stream that takes no more blocks: gone, sealed, or short of what is sealed. The lane state's epoch moves on."""


class BlocksLostError(LaneBrokenError):
    """A stream that ends before a block it had acknowledged. Whoever published it must name what is lost."""


class DurabilityError(FatalError):
    """What was written cannot be trusted to stand after a power cut."""


def _made_again(kind: type[FluxForgeError], args: tuple[object, ...], fields: dict[str, object]) -> FluxForgeError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(fields)
    return error

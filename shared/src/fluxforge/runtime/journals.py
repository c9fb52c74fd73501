"""Journals as they stand in a store: read, claimed and settled; every write is a new object, made by one alone."""

from dataclasses import dataclass, replace

from fluxforge.domain.commit import Part
from fluxforge.domain.errors import ObjectExistsError, ObjectNotFoundError
from fluxforge.domain.journal import Claim, Entry, Settlement
from fluxforge.domain.layout import claim_key, settlement_key
from fluxforge.ports.store import Store


@dataclass(frozen=True, slots=True)
class Journals:
    """The journals of all partitions of an output store."""

    store: Store

    def entries(self, partition: str) -> list[Entry]:
        """Return the entries of a partition, in order.

        Raises:
            ManifestError: One cannot be read.
        """
        found: list[Entry] = []
        while True:
            n = len(found) + 1
            try:
                key = claim_key(partition, n)
                claim = Claim.from_json(self.store.read(key), what=key)
            except ObjectNotFoundError:
                return found
            if found and found[-1].settlement is None:  # it was settled since, or this claim would not stand
                found[-1] = replace(found[-1], settlement=self._settlement(partition, n - 1))
            found.append(Entry(claim, self._settlement(partition, n)))

    def holds(self, part: Part) -> bool:
        """Return whether a committed part stands in its place, or what became of it does, by their sizes."""
        partition, _, name = part.final_key.rpartition("/")
        size_bytes, merged = part.size_bytes, None
        while self.store.size(f"{partition}/{name}") != size_bytes:
            if merged is None:
                merged = [entry.claim for entry in self.entries(partition) if entry.is_merged]
            claim = next((one for one in merged if any(file.name == name for file in one.parents)), None)
            if claim is None:
                return False
            if claim.output is None:
                return True  # its rows were removed on purpose
            name, size_bytes = claim.output.name, claim.output.size_bytes
        return True

    def claim(self, claim: Claim) -> bool:
        """Enter a claim; false where somebody else has this number."""
        try:
            self.store.create(claim_key(claim.partition, claim.n), claim.to_json())
        except ObjectExistsError:
            return False
        return True

    def settle(self, claim: Claim, settlement: Settlement) -> Settlement:
        """Settle a claim and return what became of it: another may have been first."""
        try:
            self.store.create(settlement_key(claim.partition, claim.n), settlement.to_json())
        except ObjectExistsError:
            standing = self._settlement(claim.partition, claim.n)
            assert standing is not None
            return standing
        return settlement

    def _settlement(self, partition: str, n: int) -> Settlement | None:
        key = settlement_key(partition, n)
        try:
            return Settlement.from_json(self.store.read(key), what=key)
        except ObjectNotFoundError:
            return None

"""What a crash may leave of a file's end - cut, zeros, garbage: what is whole is kept, what is torn never read."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import override

from fluxforge_collector.settings import SpoolSettings
from fluxforge_collector.spool import Spool, spooled_blocks
from tests.traffic import Traffic, audit
from tests.unit.fluxforge_segmenter.world import Crash, Points, World

Damage = Callable[[bytes], bytes]


@st.composite
def damages(draw: st.DrawFn) -> Damage:
    """Draw what becomes of a file behind some place near its end, or anywhere."""
    kept_share = draw(st.one_of(st.just(1.0), st.floats(0.9, 1), st.floats(0, 1)))
    kind = draw(st.sampled_from(["cut", "zeros", "garbage"]))
    more = draw(st.integers(0, 400))
    garbage = draw(st.binary(min_size=1, max_size=200))

    def damage(body: bytes) -> bytes:
        kept = body[: int(len(body) * kept_share)]
        match kind:
            case "cut":
                return kept
            case "zeros":
                return kept + bytes(len(body) - len(kept) + more)
            case _:
                return kept + garbage

    return damage


class DeadOnceNamed(Points):
    """Dies when the lane state names the seal and storage holds nothing of it."""

    @override
    def reach(self, name: str) -> None:
        if name.startswith("after state sealing=segment"):
            raise Crash(name)


def same_until(before: bytes, after: bytes) -> int:
    """Return how much of a file's begin is as it was."""
    return next(
        (i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), min(len(before), len(after))
    )


@given(damages(), st.integers(1, 6))
def test_a_spool_keeps_every_block_before_the_damage_and_takes_more_behind_it(damage: Damage, count: int) -> None:
    traffic = Traffic()
    blocks = [traffic.block() for _ in range(count)]
    with tempfile.TemporaryDirectory() as folder:
        settings = SpoolSettings(Path(folder), 10**8, fsync=False)
        spool = Spool(settings)
        ends = [0]
        for block in blocks:
            spool.append([block])
            ends.append(spool.size_bytes)
        (path,) = Path(folder).glob("*.spool")
        before = path.read_bytes()
        after = damage(before)
        path.write_bytes(after)
        whole = sum(1 for end in ends[1:] if end <= same_until(before, after))
        assert list(spooled_blocks(Path(folder))) == blocks[:whole]
        spool = Spool(settings)
        assert spool.ids() == [block.id for block in blocks[:whole]]
        spool.append([traffic.block()])
        assert [block.id for block in spooled_blocks(Path(folder))] == [
            *(block.id for block in blocks[:whole]),
            traffic.published[-1].id,
        ]


@given(of_data=damages(), of_manifest=damages(), is_data=st.booleans(), is_manifest=st.booleans())
@settings(max_examples=30)
async def test_a_segmenter_seals_the_same_whatever_is_left_of_the_file_it_was_placing(
    *, of_data: Damage, of_manifest: Damage, is_data: bool, is_manifest: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world, traffic = World(Path(folder)), Traffic()
        await world.put([traffic.block(), traffic.block()])
        with pytest.raises(Crash):
            await world.drain(DeadOnceNamed())
        active = [path for path in (world.data / "raw" / "active").rglob("*") if path.is_file()]
        assert len(active) == 2
        for path in active:
            is_torn, damage = (is_manifest, of_manifest) if ".manifest." in path.name else (is_data, of_data)
            if is_torn:
                path.write_bytes(damage(path.read_bytes()))
        await world.drain()
        assert len(audit(world.data, traffic.published)) == 1
        assert [path for path in (world.data / "raw" / "active").rglob("*") if path.is_file()] == []

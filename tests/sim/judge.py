"""The judge: what must hold of everything that was captured, once the world is healed and the services have ended."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import orjson

from fluxforge.domain.commit import CommitRecord
from fluxforge.domain.control import Control, Event
from fluxforge.domain.record import CONTROL_CHANNEL, read_data, read_envelope
from fluxforge.domain.segment import Manifest
from tests.sim.world import LANE, Boot, World
from tests.traffic import content, manifests


@dataclass(frozen=True, slots=True)
class Line:
    """One sealed record."""

    boot: str
    channel: str
    seq: int
    capture_ns: int
    control: Control | None


def judge(world: World) -> list[str]:
    """Return what is wrong, as sentences; nothing when all is well."""
    found = manifests(world.data, LANE)
    wrong = list(world.loop.failures)
    is_forgetful = world.scenario.is_forgetful
    wrong += _chain(world.data, found, is_forgetful=is_forgetful)
    lines = [line for manifest in found for line in _lines(content(world.data, manifest))]
    wrong += _order(lines)
    for boot in world.boots:
        own = [line for line in lines if line.boot == boot.id]
        wrong += _account_of_the_rest(boot, own, lines) if is_forgetful else _account(boot, own)
    strangers = {line.boot for line in lines} - {boot.id for boot in world.boots}
    wrong += [f"records of nobody: {strangers}"] if strangers else []
    wrong += _leftovers(world, found)
    if world.scenario.workers:
        wrong += _parts(world.data, found, is_swept="kill" not in world.faults and "cut_power" not in world.faults)
    return wrong


def _lines(body: bytes) -> list[Line]:
    lines = []
    for text in body.splitlines(keepends=True):
        envelope = read_envelope(text)
        control = Control.from_json(read_data(text)) if envelope.channel == CONTROL_CHANNEL else None
        lines.append(Line(envelope.boot, envelope.channel, envelope.seq, envelope.capture_ns, control))
    return lines


def _chain(data: Path, found: Sequence[Manifest], *, is_forgetful: bool) -> list[str]:
    """Each segment goes on exactly where the one before it ended, and is what its manifest says."""
    wrong = []
    before: Manifest | None = None
    for manifest in found:
        body = content(data, manifest)
        if (len(body), hashlib.sha256(body).hexdigest()) != (manifest.size_bytes, manifest.sha256):
            wrong.append(f"{manifest.name} is not what its manifest says")
        counts = (body.count(b"\n"), sum(feed.count for feed in manifest.feeds))
        if counts != (manifest.records, manifest.records):
            wrong.append(f"{manifest.name} holds {counts} records, its manifest says {manifest.records}")
        if manifest.holes and not is_forgetful:
            wrong.append(f"{manifest.name} has holes {manifest.holes}")
        expected = (before.epoch, before.last + 1) if before else (1, 1)
        if (manifest.epoch, manifest.first) != expected and not is_forgetful:
            wrong.append(f"{manifest.name} begins at {(manifest.epoch, manifest.first)}, expected {expected}")
        if (manifest.previous.name if manifest.previous else None) != (before.name if before else None):
            wrong.append(f"{manifest.name} follows {manifest.previous}, expected {before and before.name}")
        before = manifest
    return wrong


def _order(lines: Sequence[Line]) -> list[str]:
    """Capture times rise strictly; no record stands twice."""
    wrong = []
    for before, after in pairwise(lines):
        if after.capture_ns <= before.capture_ns:
            wrong.append(f"{after} does not rise behind {before}")
    keys = [(line.boot, line.channel, line.seq) for line in lines]
    if len(set(keys)) != len(keys):
        twice = sorted({key for key in keys if keys.count(key) > 1})
        wrong.append(f"stand twice: {twice[:5]} of {len(twice)}")
    return wrong


def _account(boot: Boot, lines: Sequence[Line]) -> list[str]:
    """Every record that got a seq is sealed or named; of a boot that was killed, those before its unnamed end."""
    wrong = []
    named = [seq for line in lines if line.control for seq in _named(line.control)]
    sealed = 0
    for channel, captured in boot.captured.items():
        seqs = [line.seq for line in lines if line.channel == channel]
        sealed += len(seqs)
        if seqs != sorted(seqs):
            wrong.append(f"boot {boot.id}: {channel} out of order: {seqs}")
        accounted = set(seqs) | {seq for name, seq in named if name == channel}
        doubled = set(seqs) & {seq for name, seq in named if name == channel}
        if doubled:
            wrong.append(f"boot {boot.id}: {channel} {sorted(doubled)[:5]} sealed and named as lost")
        if accounted != set(range(1, len(accounted) + 1)):
            missing = sorted(set(range(1, max(accounted) + 1)) - accounted)
            wrong.append(f"boot {boot.id}: {channel} lacks {missing[:10]} of {captured} in the middle")
        if boot.owed is None and len(accounted) != captured:
            wrong.append(f"boot {boot.id} ended in order: {channel} has {len(accounted)} of {captured}")
    if boot.owed is not None and sealed < boot.owed:
        wrong.append(f"boot {boot.id} was killed and had brought {boot.owed} to safety: {sealed} are sealed")
    return wrong


def _account_of_the_rest(boot: Boot, own: Sequence[Line], lines: Sequence[Line]) -> list[str]:
    """Where the bus lost what it acknowledged: what is missing before the end of a boot is named, by seqs or time."""
    wrong = []
    lacking = {}
    named = {each for line in lines if line.control for each in _named(line.control) if line.boot == boot.id}
    is_told = any(line.control and _is_told_by_time(line.control) for line in lines)
    for channel in boot.captured:
        seqs = {line.seq for line in own if line.channel == channel}
        lost = {seq for name, seq in named if name == channel}
        if seqs & lost:
            wrong.append(f"boot {boot.id}: {channel} {sorted(seqs & lost)[:5]} sealed and named as lost")
        missing = set(range(1, max(seqs | lost, default=0) + 1)) - seqs - lost
        if missing and not is_told:
            lacking[channel] = sorted(missing)[:10]
    # What names a loss may be missing alone: the segmenter sealed what it had read before, so nothing is lost.
    if lacking.keys() - {CONTROL_CHANNEL}:
        wrong.append(f"boot {boot.id} lacks {lacking} in the middle, nothing says so")
    return wrong


def _is_told_by_time(control: Control) -> bool:
    return control.event is Event.DROPPED and (control.detail or {}).get("first_seq") is None


def _named(control: Control) -> list[tuple[str, int]]:
    detail = control.detail or {}
    if control.event is Event.DROPPED and not control.repeat and detail.get("first_seq") is not None:
        channel = control.scope.channel if control.scope else CONTROL_CHANNEL
        return [(channel, seq) for seq in range(int(detail["first_seq"] or 0), int(detail["last_seq"] or 0) + 1)]
    if control.event is Event.REJECTED and control.scope:
        return [(control.scope.channel, int(detail["seq"] or 0))]
    return []


def _parts(data: Path, found: Sequence[Manifest], *, is_swept: bool) -> list[str]:
    """Every segment is committed once, its parts hold its records and stand in their place; nothing is left beside.

    But for what a worker had written that was killed behind another's commit: nobody looks after it again.
    """
    wrong = []
    expected = set()
    for manifest in found:
        commits = sorted((data / "commits" / str(manifest.lane)).glob(f"{manifest.name}.*json"))
        if not commits:
            wrong.append(f"{manifest.name} is not committed")
            continue
        if not (data / "commits" / str(manifest.lane) / f"{manifest.name}.placed").exists():
            wrong.append(f"{manifest.name} is not placed")
        commit = CommitRecord.from_json(commits[-1].read_bytes())
        expected |= {part.final_key for part in commit.parts}
        bodies = [(data / part.final_key).read_bytes() for part in commit.parts if (data / part.final_key).exists()]
        lines = [line for body in bodies for line in body.splitlines(keepends=True)]
        if sorted(lines) != sorted(content(data, manifest).splitlines(keepends=True)):
            wrong.append(f"the parts of {manifest.name} do not hold its records")
    standing = {str(path.relative_to(data)) for path in data.glob("processed/**/*") if path.is_file()}
    if standing != expected:
        wrong.append(f"parts of nobody: {sorted(standing ^ expected)[:3]}")
    left = [path.name for path in data.glob(".tmp/*") if path.is_dir()]
    if left and is_swept:
        wrong.append(f"left in .tmp: {left}")
    if dead := list(data.glob("dead/**/*.json")):
        wrong.append(f"condemned: {[path.read_text()[:200] for path in dead]}")
    return wrong


def _leftovers(world: World, found: Sequence[Manifest]) -> list[str]:
    """Every segment was told of, the state is at rest, spools and scratch are empty.

    But for a spool whose place in the lane the bus forgot: it is set aside and named, for a person to decide.
    """
    wrong = []
    told = {orjson.loads(message.data)["segment"] for message in world.server.streams["SEGMENTS"].messages.values()}
    if missing := {manifest.name for manifest in found} - told:
        wrong.append(f"never told of: {sorted(missing)}")
    spools = [path for disk in world.disks.values() for path in disk.root.rglob("*.spool")]
    if world.scenario.is_forgetful:
        spools = [path for path in spools if not path.parent.name.startswith("undecided-")]
    if spools:
        wrong.append(f"left in spools: {spools}")
    for value in list(world.server.streams["KV_lanes"].messages.values())[
        -1:
    ]:  # none: lost, and nobody needed it since
        state = orjson.loads(value.data)
        left = list(world.data.glob("raw/active/*/*/*/*"))
        if "stop" in world.faults:  # what a zombie finishes behind its successor's last sweep, the next one finds
            left = [path for path in left if path.parent.name == state["owner"]]
        if left and not world.scenario.is_forgetful:  # a state that is lost knows no owner to sweep behind
            wrong.append(f"left in scratch: {left}")
        is_behind = found and state["epoch"] == found[-1].epoch and state["sealed_seq"] != found[-1].last
        if state["sealing"] or is_behind:
            wrong.append(f"the state says {state['sealed_seq']}, sealing {state['sealing']}")
    return wrong

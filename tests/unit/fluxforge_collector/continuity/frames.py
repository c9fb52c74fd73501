"""Frames as the venues send them, and what a detector made of a run of them."""

from collections.abc import Iterable
from typing import Any

import orjson

from fluxforge_collector.continuity.finding import Detector, Finding


def taken(detector: Detector, frames: Iterable[dict[str, Any]]) -> list[str]:
    """Return the verdicts of frames, those of one frame joined by `+`."""
    return ["+".join(f.step.verdict for f in detector.take(orjson.dumps(frame).decode())) for frame in frames]


def last(detector: Detector, frame: dict[str, Any]) -> Finding:
    """Return the first finding of one frame."""
    return detector.take(orjson.dumps(frame).decode())[0]


def bounds(finding: Finding) -> tuple[int | None, int | None, int | None]:
    return finding.step.expected, finding.step.got, finding.step.missing

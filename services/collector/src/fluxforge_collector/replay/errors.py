"""Errors of replays."""

from fluxforge.domain.errors import FluxForgeError


class ReplayDivergedError(FluxForgeError):
    """The client did something else than it did at capture: what was recorded does not fit it any more."""

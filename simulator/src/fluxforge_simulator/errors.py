"""Errors of the simulator: a call that cannot be carried out."""

from fluxforge.domain.errors import UsageError


class OptionError(UsageError):
    """An option whose value cannot be used. Nothing was started."""

    def __init__(self, option: str, value: str, expected: str, reason: str) -> None:
        super().__init__(f"{option} {value}".rstrip() + f": expected {expected}, was: {reason}")
        self.option = option
        self.value = value
        self.expected = expected
        self.reason = reason

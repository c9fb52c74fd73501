"""Clocks that are off: libfaketime, preloaded into processes of their own."""

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest


def clock_library() -> Path:
    """Return the library to preload; skips where there is none."""
    found = find_spec("libfaketime")
    library = next(Path(found.origin).parent.rglob("libfaketime.so.1"), None) if found and found.origin else None
    if sys.platform != "linux" or library is None:
        pytest.skip("needs Linux and libfaketime")
    return library

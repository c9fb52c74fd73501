"""Units of systemd, read with the drop-ins of their name's prefix, and a copy of them whose programs exist."""

import shutil
import stat
from pathlib import Path

from tests.deploy.cluster import ROOT

HOME = ROOT / "deploy" / "systemd"
SHARED = HOME / "fluxforge-.service.d"
PROGRAMS = "/opt/fluxforge/bin"
SERVICES = sorted(path.name for path in HOME.glob("*.service"))
Unit = dict[str, list[str]]


def unit(name: str) -> Unit:
    """Return what a unit says, then what its drop-ins say: key -> values. Of most keys the last one counts."""
    said: Unit = {}
    for path in (HOME / name, *sorted(SHARED.glob("*.conf"))):
        for line in path.read_text().splitlines():
            key, equals, value = line.partition("=")
            if equals and not line.startswith(("#", "[")):
                said.setdefault(key, []).append(value)
    return said


def environment(said: Unit) -> dict[str, str]:
    """Return the variables that a unit sets itself."""
    pairs = [pair for line in said.get("Environment", ()) for pair in line.split()]
    return dict(pair.split("=", 1) for pair in pairs)


def installed(directory: Path) -> Path:
    """Copy the units below a directory, with programs that can be run in the place of ours."""
    programs = directory / "bin"
    programs.mkdir()
    for name in ("python", "fluxforge", "nats-server"):
        (programs / name).write_text("#!/bin/sh\n")
        (programs / name).chmod(stat.S_IRWXU)
    units = directory / "units"
    shutil.copytree(HOME, units)
    for path in units.glob("*.service"):
        path.write_text(path.read_text().replace(PROGRAMS, str(programs)))
    return units

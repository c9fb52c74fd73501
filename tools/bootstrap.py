"""Bootstrap: puts uv, at the version uv.lock names, into `.venv` of a checkout that has nothing but Python >= 3.11.

Only the standard library is used. pip is used where it is there; where it is not (Debian's bare python3 has neither pip
nor ensurepip), the wheel is fetched from the package index and checked against the hash the lock file names.
"""

import hashlib
import io
import platform
import re
import subprocess
import sys
import sysconfig
import tomllib
import urllib.request
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"


def uv_package() -> dict:
    """Return the lock's entry of uv: version, and url and hash of each wheel."""
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    return next(package for package in lock["package"] if package["name"] == "uv")


def has_uv(version: str) -> bool:
    """Return whether `.venv` holds uv at this version."""
    uv = VENV / "bin" / "uv"
    if not uv.exists():
        return False
    said = subprocess.run([uv, "--version"], capture_output=True, text=True, check=False).stdout
    return said.split()[1:2] == [version]


def has_pip() -> bool:
    """Return whether this Python has pip."""
    return subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0


def wheel_of(package: dict) -> dict:
    """Return the wheel for this machine: its architecture, its C library."""
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())
    if sys.platform == "darwin":
        wanted = rf"macosx_.*_{'arm64' if machine == 'aarch64' else machine}\.whl"
    else:
        libc = "musllinux" if "musl" in (sysconfig.get_config_var("HOST_GNU_TYPE") or "") else "manylinux"
        wanted = rf"{libc}.*_{machine}(\.|$)"
    for wheel in package["wheels"]:
        if re.search(wanted, wheel["url"].rsplit("/", 1)[1]):
            return wheel
    sys.exit(f"bootstrap: uv ships no wheel for {sys.platform} {machine}; install uv {package['version']} into {VENV}")


def unpack(wheel: dict) -> None:
    """Put the executables of a wheel into `.venv/bin`, after checking the lock's hash."""
    with urllib.request.urlopen(wheel["url"], timeout=120) as answer:
        body = answer.read()
    if "sha256:" + hashlib.sha256(body).hexdigest() != wheel["hash"]:
        sys.exit(f"bootstrap: {wheel['url']} does not have the hash uv.lock names; nothing was installed")
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        for name in archive.namelist():
            if ".data/scripts/" in name:
                target = VENV / "bin" / name.rsplit("/", 1)[1]
                target.write_bytes(archive.read(name))
                target.chmod(0o755)


def main() -> None:
    """Create `.venv` where it is missing, and uv in it."""
    package = uv_package()
    if has_uv(package["version"]):
        return
    if not (VENV / "bin" / "python").exists():
        venv.create(VENV, symlinks=True, with_pip=False)
    if has_pip():
        command = [sys.executable, "-m", "pip", "--python", str(VENV / "bin" / "python"), "install", "-q"]
        subprocess.run([*command, "--disable-pip-version-check", f"uv=={package['version']}"], check=True)
    else:
        unpack(wheel_of(package))


if __name__ == "__main__":
    main()

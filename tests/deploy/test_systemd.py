"""systemd: the units are taken without a word, may do little, and start what the product really has."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from fluxforge.runtime import settings
from fluxforge.runtime.lifecycle import ON_SIGNAL
from tests.deploy.cluster import HOME as KUBERNETES
from tests.deploy.commands import parsed
from tests.deploy.nats_conf import permissions, read
from tests.deploy.systemd_units import HOME, PROGRAMS, SERVICES, SHARED, environment, installed, unit

CONF = KUBERNETES / "overlays" / "single-node" / "nats.conf"
EXPOSURE_MAX = 2.0
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not there")
COMMANDS = {"fluxforge-provision.service": "provision", "fluxforge-run@.service": "operator"}
OURS = [name for name in SERVICES if name != "fluxforge-nats.service" and name not in COMMANDS]


def verified(units: Path, name: str) -> str:
    """Return what systemd says of a unit; nothing is what it should say."""
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", f"./{name}"],
        cwd=units,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr + (f"exit code {done.returncode}" if done.returncode else "")


def exposure(units: Path, name: str) -> float:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", f"./{name}"],
        cwd=units,
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    return float(found[1])


@needs_systemd
@pytest.mark.parametrize("name", [*SERVICES, "fluxforge.target"])
def test_systemd_takes_the_unit_without_a_word(name: str, tmp_path: Path) -> None:
    assert verified(installed(tmp_path), name) == ""


@needs_systemd
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Restart=always", "Restartt=always"),
        ("Restart=always", "Restart=forever"),
        (f"{PROGRAMS}/python", "/opt/nowhere/python"),
        ("MemoryMax=", "MemoryMax=much"),
    ],
)
def test_a_fault_in_a_unit_is_told(before: str, after: str, tmp_path: Path) -> None:
    units = installed(tmp_path)
    path = units / "fluxforge-segmenter.service"
    text = path.read_text().replace(str(tmp_path / "bin"), PROGRAMS)
    assert before in text
    path.write_text(text.replace(before, after).replace(PROGRAMS, str(tmp_path / "bin")))
    assert verified(units, path.name)


@needs_systemd
@pytest.mark.parametrize("name", SERVICES)
def test_a_service_may_do_little(name: str, tmp_path: Path) -> None:
    found = exposure(installed(tmp_path), name)
    print(f"{name}: exposure {found}")
    assert found < EXPOSURE_MAX


@needs_systemd
def test_without_the_shared_drop_in_a_service_might_do_much(tmp_path: Path) -> None:
    units = installed(tmp_path)
    shutil.rmtree(units / SHARED.name)
    assert exposure(units, "fluxforge-segmenter.service") > 2 * EXPOSURE_MAX


@needs_systemd
def test_user_and_directories_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    users = ["systemd-sysusers", f"--root={tmp_path}", HOME / "fluxforge.sysusers.conf"]
    directories = ["systemd-tmpfiles", f"--root={tmp_path}", "--create", HOME / "fluxforge.tmpfiles.conf"]
    assert subprocess.run(users, check=False).returncode == 0
    assert "FluxForge" in (tmp_path / "etc" / "passwd").read_text()
    assert subprocess.run(directories, check=False).returncode == 0
    assert (tmp_path / "etc" / "fluxforge" / "credentials").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "var" / "lib" / "fluxforge").stat().st_mode & 0o777 == 0o750


@pytest.mark.parametrize("name", [*OURS, *COMMANDS])
def test_a_unit_starts_what_understands_its_arguments(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (line,) = unit(name)["ExecStart"]
    assert line.startswith(f"{PROGRAMS}/")
    variables = environment(unit(name))
    instance = "health" if name == "fluxforge-run@.service" else "binanceus"
    words = [variables[word[2:-1]] if word[0] == "$" else word for word in line.split()]
    arguments = parsed([word.replace("%i", instance) for word in words], monkeypatch)
    assert str(arguments["config"]) == "/etc/fluxforge/config.yaml"


def test_a_collector_takes_its_source_from_the_file_of_its_instance(monkeypatch: pytest.MonkeyPatch) -> None:
    said = unit("fluxforge-collector@.service")
    assert said["EnvironmentFile"] == ["-/etc/fluxforge/collector/%i.env"]
    for given, source in (({}, "ccxt"), ({"SOURCE": "ibkr"}, "ibkr")):
        variables = {**environment(said), "EXCHANGE": "ibkr", **given}
        words = [variables[word[2:-1]] if word[0] == "$" else word for word in said["ExecStart"][0].split()]
        assert parsed(words, monkeypatch)["source"] == source


@pytest.mark.parametrize("name", OURS)
def test_the_product_takes_the_configuration_under_the_variables_of_each_unit(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in [variable for variable in os.environ if variable.startswith("FLUXFORGE__")]:
        monkeypatch.delenv(variable)
    for variable, value in environment(unit(name)).items():
        monkeypatch.setenv(variable, value.replace("%i", "1").replace("%d", f"/run/credentials/{name}"))
    tree = settings.load(HOME / "config.yaml")
    assert str(tree.nats.credentials_file) == f"/run/credentials/{name}/nats"
    (state,) = unit(name)["StateDirectory"]
    assert tree.storage.scratch_dir == Path("/var/lib") / state
    stores = {tree.storage.ingestion_storage.base_dir, tree.storage.etl_storage_output.base_dir}
    is_collector = "collector" in name
    assert stores == {Path("/var/lib/fluxforge/data")}
    assert (tree.spool_dir == Path("/var/lib/fluxforge/collector/spool")) == is_collector


def test_no_two_services_tell_their_metrics_at_the_same_port() -> None:
    ports = [environment(unit(name))["FLUXFORGE__TELEMETRY__PORT"].replace("%i", "1") for name in OURS]
    assert len(set(ports)) == len(ports)


def test_a_service_signs_in_as_itself() -> None:
    users = set(permissions(read(CONF)))
    services = {name: name.removeprefix("fluxforge-").removesuffix(".service").removesuffix("@") for name in OURS}
    for name, user in {**services, **COMMANDS}.items():
        assert user.replace("-", "_") in users
        assert unit(name)["LoadCredential"] == [f"nats:/etc/fluxforge/credentials/{user.replace('-', '_')}"]
    assert len(services) + len(COMMANDS) == len(users)


@pytest.mark.parametrize("name", OURS)
def test_a_service_comes_back_for_ever_and_is_not_killed_in_its_drain(name: str) -> None:
    said = unit(name)
    assert said["Restart"] == ["always"]
    assert said["StartLimitIntervalSec"] == ["0"]
    assert float(said["TimeoutStopSec"][-1]) >= 2 * ON_SIGNAL.hard_s
    assert said["PartOf"] == said["WantedBy"] == ["fluxforge.target"]


def test_the_bus_has_time_to_write_out_what_it_holds() -> None:
    assert unit("fluxforge-nats.service")["TimeoutStopSec"] == ["90"], "a drop-in would come behind it"


def test_the_passwords_are_those_that_the_server_knows_and_nobody_else_can_read_them(tmp_path: Path) -> None:
    for _ in range(2):
        subprocess.run([HOME / "credentials.sh", tmp_path], check=True)
    variables = dict(line.split("=", 1) for line in (tmp_path / "nats.env").read_text().splitlines())
    files = sorted((tmp_path / "credentials").iterdir())
    users = permissions(read(CONF))
    assert [path.name for path in files] == sorted(users)
    for path in files:
        assert path.read_text() == f"{path.name}:{variables[f'FLUXFORGE_NATS_{path.name.upper()}_PASSWORD']}\n"
    for path in (*files, tmp_path / "nats.env"):
        assert path.stat().st_mode & 0o777 == 0o600

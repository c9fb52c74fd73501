"""The bus in Kubernetes: one set of users in every form of configuration; each can do its work and no more."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from fluxforge.adapters.jetstream import BusOptions
from fluxforge.adapters.jetstream.api import Api
from fluxforge.adapters.jetstream.connection import Connection
from fluxforge.adapters.jetstream.options import inbox_prefix
from fluxforge.adapters.jetstream.provision import provision
from fluxforge.domain.errors import ConfigurationError, FatalError
from tests.deploy.cluster import HOME, ROOT, secrets
from tests.deploy.nats_conf import parse, permissions, read
from tests.integration.cli.command import run
from tests.ports import kept_port
from tests.system import PATIENCE_S, System, simulator

CONF = HOME / "overlays" / "single-node" / "nats.conf"
USERS = CONF.with_name("users.conf")
SYSTEMD = ROOT / "deploy" / "systemd" / "nats.conf"
VALUES = HOME / "nats-values.yaml"
COMPOSE = ROOT / "deploy" / "nats" / "nats.conf"
SERVER = Path(sys.executable).parent / "nats-server"


def values() -> dict[str, Any]:
    return yaml.safe_load(VALUES.read_text())


def conf_of_values() -> str:
    """Return what the chart makes of `config`: JSON, in which << >> leaves out the quotes."""
    config = values()["config"]
    jetstream = {"store_dir": config["jetstream"]["fileStore"]["dir"], **config["jetstream"]["merge"]}
    text = orjson.dumps({**config["merge"], "jetstream": jetstream}).decode()
    return re.sub(r'"<<\s+(.*?)\s+>>"', r"\1", text[1:-1])


def passwords() -> dict[str, str]:
    return secrets()[1]["stringData"]


def subjects(rights: dict[str, dict[str, list[str]]]) -> Iterator[str]:
    return (subject for way in rights.values() for subject in way.get("allow", ()))


def test_the_users_of_the_chart_are_those_of_the_single_node() -> None:
    assert permissions(values()["config"]["merge"]) == permissions(read(CONF))


def test_the_users_are_those_of_compose() -> None:
    assert permissions(read(CONF)) == permissions(read(COMPOSE))
    assert USERS.read_text() == COMPOSE.with_name("users.conf").read_text(), "kustomize reads nothing outside its root"


def test_a_user_hears_answers_to_its_own_questions_alone() -> None:
    for user, rights in permissions(read(CONF)).items():
        heard = [subject for subject in rights["subscribe"]["allow"] if subject.startswith("_INBOX")]
        assert heard == [f"{inbox_prefix({'user': user})}.>"]


def test_a_difference_of_one_subject_is_seen() -> None:
    changed = USERS.read_text().replace('"dead.>"', '"dead.*"')
    assert permissions(parse(changed)) != permissions(read(CONF))


def test_the_reader_of_configurations_knows_its_forms() -> None:
    text = 'a: 1 # one\nb = "x, y"\nc { d: [p, "q"], // two\n e: $F }\ng [ {h: i}\n{h: j} ]\nk:0.0.0.0:1\n'
    assert parse(text) == {
        "a": "1",
        "b": "x, y",
        "c": {"d": ["p", "q"], "e": "$F"},
        "g": [{"h": "i"}, {"h": "j"}],
        "k": "0.0.0.0:1",
    }


def test_every_password_comes_from_the_secret() -> None:
    for users in (read(CONF), parse(conf_of_values())):
        named = {user["user"]: user["password"] for user in users["authorization"]["users"]}
        assert set(named.values()) == {f"${name}" for name in passwords()}
        assert all(password == f"$FLUXFORGE_NATS_{user.upper()}_PASSWORD" for user, password in named.items())


def test_nobody_may_do_everything() -> None:
    for user, rights in permissions(read(CONF)).items():
        assert set(rights) == {"publish", "subscribe"}, user
        assert not {">", "$JS.>", "$JS.API.>", "$JS.API.STREAM.>", "$KV.>"} & set(subjects(rights)), user


@pytest.mark.parametrize(
    "text",
    [CONF.read_text(), SYSTEMD.read_text(), conf_of_values(), COMPOSE.read_text()],
    ids=["single node", "systemd", "chart", "compose"],
)
def test_the_server_takes_the_configuration(text: str, tmp_path: Path) -> None:
    path = tmp_path / "nats.conf"
    shutil.copy(USERS, tmp_path)
    path.write_text(text)
    checked = [SERVER, "-t", "-c", path]
    done = subprocess.run(
        checked,
        env={**os.environ, **passwords(), "FLUXFORGE_NATS_STORE": "20GB"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "sync_interval" in text
    path.write_text(text.replace("js_ack_fc_v2", "js_ack_fc_v3").replace("sync_interval", "sync_intervall"))
    assert subprocess.run(
        checked, env={**os.environ, **passwords(), "FLUXFORGE_NATS_STORE": "20GB"}, capture_output=True, check=False
    ).returncode


def test_the_chart_runs_three_servers_that_sync_and_keep_apart() -> None:
    tree = values()
    assert tree["config"]["cluster"] == {"enabled": True, "replicas": 3}
    assert tree["config"]["jetstream"]["merge"] == {"sync_interval": "always"}
    assert tree["config"]["merge"]["feature_flags"] == {"js_ack_fc_v2": False}
    (spread,) = tree["podTemplate"]["topologySpreadConstraints"].values()
    assert spread["whenUnsatisfiable"] == "DoNotSchedule"
    assert tree["podTemplate"]["merge"]["spec"]["securityContext"]["runAsNonRoot"] is True
    for part in ("container", "reloader", "promExporter"):
        merged = tree[part]["merge"]
        assert merged["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert merged["resources"]["limits"].keys() == {"memory"}


@dataclass(frozen=True)
class Guarded:
    """A server with the users of the single node, and the file that each of them signs in with."""

    url: str
    home: Path

    def credentials(self, user: str) -> Path:
        return self.home / user

    def options(self, user: str) -> BusOptions:
        return BusOptions((self.url,), credentials_file=self.credentials(user))


@asynccontextmanager
async def guarded(home: Path) -> AsyncIterator[Guarded]:
    """Run nats-server with the configuration of the single node; only addresses and directories are others."""
    services, variables = (one["stringData"] for one in secrets())
    for user, signed in services.items():
        (home / user).write_text(signed)
    shutil.copy(USERS, home)
    with kept_port() as port:
        text = CONF.read_text().replace("\nport: 4222\n", f'\nlisten: "127.0.0.1:{port}"\n')
        text = re.sub(r"\nhttp_port: .*", "", text).replace("store_dir: /data", f'store_dir: "{home}"')
        (home / "nats.conf").write_text(text.replace("max_file_store: 36GB", "max_file_store: 8GB"))
        command = [str(SERVER), "-c", str(home / "nats.conf")]
        with (home / "nats.log").open("wb") as log:
            server = subprocess.Popen(command, env={**os.environ, **variables}, stdout=log, stderr=log)  # noqa: ASYNC220
        try:
            async with asyncio.timeout(30):
                while b"Server is ready" not in (home / "nats.log").read_bytes():
                    assert server.poll() is None, (home / "nats.log").read_text()
                    await asyncio.sleep(0.05)
            yield Guarded(f"nats://127.0.0.1:{port}", home)
        finally:
            server.kill()
            server.wait()


@pytest.mark.timeout(300)
async def test_every_service_does_its_work_as_its_own_user(tmp_path: Path) -> None:
    async with simulator("--exchange", "kraken") as (port, _), guarded(tmp_path) as bus:
        exchanges = {"kraken": {"via": f"127.0.0.1:{port}", "channels": {"watchTrades": ["BTC/USD"]}}}
        sections: dict[str, Any] = {"ingestion": {"segment_max_age_seconds": 1}}
        system = System(tmp_path, bus, exchanges, sections)  # type: ignore[arg-type]
        try:
            for _ in range(2):
                code, said = await run("provision", "--config", signed_as(bus, system, "provision"), cwd=tmp_path)
                assert code == 0, said
            started = {}
            for service, more in (
                ("segmenter", ()),
                ("etl_worker", ()),
                ("compactor", ()),
                ("collector", ("--exchange", "kraken")),
            ):
                as_itself = {"FLUXFORGE__NATS__CREDENTIALS_FILE": str(bus.credentials(service))}
                started[service] = await system.start(service, *more, variables=as_itself)
            await system.until(lambda: len(system.manifests()) > 1 and system.all_placed())
            await as_operator(bus, system)
            for service in ("collector", "segmenter", "etl_worker", "compactor"):
                await system.drain(started[service])
                assert "permissions violation" not in system.log(service).lower()
        finally:
            await system.end()


def signed_as(bus: Guarded, system: System, user: str) -> Path:
    """Return a configuration of the system for a command that signs in as this user."""
    signed = {"nats": {"servers": [bus.url], "credentials_file": str(bus.credentials(user))}}
    path = system.base / f"{user}.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(system.config.read_text()), **signed}))
    return path


async def as_operator(bus: Guarded, system: System) -> None:
    config = signed_as(bus, system, "operator")
    heard: dict[str, Any] = {}
    async with asyncio.timeout(PATIENCE_S):
        while not heard.get("healthy"):  # it listens for seconds each time; a compactor is ready after its first round
            _, said = await run("health", "--config", config, "--json", cwd=system.base)
            heard = orjson.loads(said)
    names = {service["name"] for service in heard["services"]}
    assert names == {"collector ccxt-kraken-0of1", "segmenter", "etl-worker", "compactor"}
    _, said = await run("doctor", "--config", config, cwd=system.base)
    assert "buckets, streams and consumer are as provisioned" in said, said
    assert "lane streams: 1" in said, said
    code, said = await run("audit", "--config", config, cwd=system.base)
    assert "permissions violation" not in said.lower(), said
    assert code in (0, 1), said


REFUSED = [
    ("collector", "STREAM.DELETE.SEGMENTS"),
    ("collector", "CONSUMER.DELETE.SEGMENTS.etl"),
    ("segmenter", "STREAM.DELETE.KV_lanes"),
    ("segmenter", "STREAM.PURGE.SEGMENTS"),
    ("segmenter", "CONSUMER.CREATE.SEGMENTS"),
    ("etl_worker", "STREAM.PURGE.SEGMENTS"),
    ("etl_worker", "STREAM.NAMES"),
    ("compactor", "STREAM.MSG.GET.SEGMENTS"),
    ("provision", "STREAM.DELETE.SEGMENTS"),
    ("operator", "STREAM.UPDATE.SEGMENTS"),
]


@pytest.mark.timeout(180)
async def test_what_a_user_has_no_business_with_is_refused(tmp_path: Path) -> None:
    async with guarded(tmp_path) as bus:
        await provision(bus.options("provision"))
        for user, verb in REFUSED:
            connection = await Connection.open(bus.options(user), "test")
            try:
                with pytest.raises(FatalError, match=r"(?i)permissions violation for publish"):
                    await Api(connection).call(verb)
            finally:
                await connection.close()
        with pytest.raises(ConfigurationError):
            await Connection.open(BusOptions((bus.url,)), "nobody")

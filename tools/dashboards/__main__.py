"""Write every dashboard into `deploy/grafana/dashboards/FluxForge`, or into the folder that is named."""

import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
from tools.dashboards.collector import collector
from tools.dashboards.nats import nats
from tools.dashboards.overview import overview
from tools.dashboards.panels import HOME
from tools.dashboards.pipeline import pipeline
from tools.dashboards.storage import storage


def dashboards() -> list[Dashboard]:
    """Return all of them, in the order a person reads them."""
    return [overview(), collector(), pipeline(), storage(), nats()]


def encoded(dashboard: Dashboard) -> str:
    """Return a dashboard as it is committed."""
    return JSONEncoder(indent=2, sort_keys=True).encode(dashboard) + "\n"


def main(folder: Path = HOME) -> None:
    """Write them."""
    folder.mkdir(parents=True, exist_ok=True)
    for dashboard in dashboards():
        path = folder / f"{dashboard.uid}.json"
        path.write_text(encoded(dashboard), encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))

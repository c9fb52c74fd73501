"""Write the rules of `deploy/prometheus/rules` as the PrometheusRule of the Kubernetes component `monitoring`.

Run it after a rule has changed: `python -m tools.prometheus_rule`. A test holds the file against the rules.
"""

from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).resolve().parents[1]
RULES: Final = ROOT / "deploy" / "prometheus" / "rules"
TARGET: Final = ROOT / "deploy" / "k8s" / "components" / "monitoring" / "prometheus-rule.yaml"
_HEAD: Final = "# Written by `python -m tools.prometheus_rule` from deploy/prometheus/rules: change it there.\n"


def prometheus_rule() -> dict[str, Any]:
    """Return the object, with the groups of all files in the order of their names."""
    groups = [group for path in sorted(RULES.glob("*.yml")) for group in yaml.safe_load(path.read_text())["groups"]]
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "fluxforge", "labels": {"app.kubernetes.io/part-of": "fluxforge"}},
        "spec": {"groups": groups},
    }


def main() -> None:
    """Write it."""
    TARGET.write_text(_HEAD + yaml.safe_dump(prometheus_rule(), sort_keys=False, width=140), encoding="utf-8")
    print(TARGET)


if __name__ == "__main__":
    main()

"""Strict schemas: Kubernetes' own, and of custom resources what we use of them: nothing else may stand there."""

from typing import Any

import jsonschema
import kubernetes_validate

from tests.deploy.cluster import Manifest

VERSION = "1.34"
Schema = dict[str, Any]

TEXT: Schema = {"type": "string", "minLength": 1}
TEXTS: Schema = {"type": "object", "additionalProperties": TEXT}
DURATION: Schema = {"type": "string", "pattern": r"^[0-9]+(ms|[smhdwy])$"}
COUNT: Schema = {"type": "integer", "minimum": 0}


def closed(required: dict[str, Schema], optional: dict[str, Schema] | None = None) -> Schema:
    properties = {**required, **(optional or {})}
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def several(item: Schema) -> Schema:
    return {"type": "array", "items": item, "minItems": 1}


def resource(api: str, kind: str, spec: Schema) -> Schema:
    metadata = closed({"name": TEXT}, {"namespace": TEXT, "labels": TEXTS, "annotations": TEXTS})
    return closed({"apiVersion": {"const": api}, "kind": {"const": kind}, "metadata": metadata, "spec": spec})


TERM = closed({"key": TEXT, "operator": {"enum": ["In", "NotIn", "Exists", "DoesNotExist"]}}, {"values": several(TEXT)})
SELECTOR = closed({}, {"matchLabels": TEXTS, "matchExpressions": several(TERM)})
NATS_TRIGGER = closed(
    {
        "type": {"const": "nats-jetstream"},
        "metadata": closed(
            {
                "natsServerMonitoringEndpoint": {"type": "string", "pattern": r"^[a-z0-9.-]+:[0-9]+$"},
                "account": TEXT,
                "stream": TEXT,
                "consumer": TEXT,
                "lagThreshold": {"type": "string", "pattern": "^[1-9][0-9]*$"},
            },
            {
                "activationLagThreshold": {"type": "string", "pattern": "^[0-9]+$"},
                "useHttps": {"enum": ["true", "false"]},
            },
        ),
    }
)
SCALING = closed(
    {},
    {
        "stabilizationWindowSeconds": {"type": "integer", "minimum": 0, "maximum": 3600},
        "selectPolicy": {"enum": ["Max", "Min", "Disabled"]},
        "policies": several(closed({"type": {"enum": ["Pods", "Percent"]}, "value": COUNT, "periodSeconds": COUNT})),
    },
)
CUSTOM = {
    "ScaledObject": resource(
        "keda.sh/v1alpha1",
        "ScaledObject",
        closed(
            {"scaleTargetRef": closed({"name": TEXT}), "triggers": several(NATS_TRIGGER)},
            {
                "pollingInterval": COUNT,
                "minReplicaCount": COUNT,
                "maxReplicaCount": COUNT,
                "fallback": closed(
                    {"failureThreshold": COUNT, "replicas": COUNT},
                    {
                        "behavior": {
                            "enum": [
                                "static",
                                "currentReplicas",
                                "currentReplicasIfHigher",
                                "currentReplicasIfLower",
                            ]
                        }
                    },
                ),
                "advanced": closed(
                    {
                        "horizontalPodAutoscalerConfig": closed(
                            {"behavior": closed({}, {"scaleDown": SCALING, "scaleUp": SCALING})}
                        )
                    }
                ),
            },
        ),
    ),
    "PodMonitor": resource(
        "monitoring.coreos.com/v1",
        "PodMonitor",
        closed(
            {
                "selector": SELECTOR,
                "podMetricsEndpoints": several(
                    closed({"port": TEXT}, {"path": TEXT, "interval": DURATION, "scrapeTimeout": DURATION})
                ),
            },
            {"jobLabel": TEXT},
        ),
    ),
    "PrometheusRule": resource(
        "monitoring.coreos.com/v1",
        "PrometheusRule",
        closed(
            {
                "groups": several(
                    closed(
                        {
                            "name": TEXT,
                            "rules": several(
                                closed(
                                    {"expr": TEXT},
                                    {
                                        "alert": TEXT,
                                        "record": TEXT,
                                        "for": DURATION,
                                        "keep_firing_for": DURATION,
                                        "labels": TEXTS,
                                        "annotations": TEXTS,
                                    },
                                )
                            ),
                        },
                        {"interval": DURATION},
                    )
                )
            }
        ),
    ),
}


def refused(one: Manifest) -> str | None:
    """Return why the API would refuse an object's form, or None."""
    try:
        if schema := CUSTOM.get(one["kind"]):
            jsonschema.Draft202012Validator(schema).validate(one)
        else:
            kubernetes_validate.validate(one, VERSION, strict=True)
    except jsonschema.ValidationError as error:
        place = ".".join(map(str, error.absolute_path))
        return f"{one['kind']} {one['metadata']['name']}: {place}: {error.message}"
    except kubernetes_validate.SchemaNotFoundError as error:
        return error.message
    return None

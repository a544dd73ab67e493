"""The Helm chart, the RayService and ``docs/how-to/kubernetes.md``: rendered and checked without a cluster."""

from __future__ import annotations

import ipaddress
import json
import re
import shlex
from itertools import pairwise
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from support import helm
from support.doc_blocks import commands_on, texts_on
from support.places import DOCS, REPOSITORY

from enlarger.config import GROUPS
from enlarger.fetch.rule import FetchRule

pytestmark = pytest.mark.packaging

PAGE = DOCS / "how-to" / "kubernetes.md"
CHART = REPOSITORY / "deploy" / "helm" / "enlarger"
RAY_SERVICE = REPOSITORY / "deploy" / "kubernetes" / "rayservice.yaml"

NAMESPACE = "pictures"
VERSION = "1.37"

SHARED = {"isShared": True, "settingsFromSecret": "enlarger-settings"}

VALUES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "in the pod": {"results": {"size": ""}, "networkPolicy": {"enabled": False}},
    "hpa": {**SHARED, "autoscaling": {"kind": "hpa"}},
    "monitored": {"settingsFromSecret": "enlarger-settings",
                  "serviceMonitor": {"enabled": True, "keyFrom": "PROMETHEUS_KEY"}},
    "everything": {
        **SHARED, "replicas": 3, "arguments": ["--port", "8000"], "podAnnotations": {"a": "b"},
        "imagePullSecrets": [{"name": "registry"}], "nodeSelector": {"disk": "fast"},
        "tolerations": [{"key": "pictures", "operator": "Exists"}], "networkPolicy": {"fetch": False},
        "affinity": {"nodeAffinity": {}}, "service": {"type": "LoadBalancer", "port": 8000},
    },
    **{f"page {number}": yaml.safe_load(text) for number, text in enumerate(texts_on(PAGE, "yaml"))},
}  # fmt: skip

CUSTOM: dict[str, dict[str, Any]] = {
    "ServiceMonitor": {
        "required": ["selector", "endpoints"],
        "additionalProperties": False,
        "properties": {
            "selector": {"required": ["matchLabels"]},
            "endpoints": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "required": ["port", "path", "interval"],
                    "additionalProperties": False,
                    "properties": {
                        "port": {"const": "http"},
                        "path": {"const": "/metrics"},
                        "interval": {"pattern": r"^\d+(ms|s|m)$"},
                        "relabelings": {"type": "array", "items": {"required": ["targetLabel", "replacement"]}},
                        "authorization": {
                            "required": ["credentials"],
                            "properties": {"credentials": {"required": ["name", "key"]}},
                        },
                    },
                },
            },
        },
    },
    "ScaledObject": {
        "required": ["scaleTargetRef", "minReplicaCount", "maxReplicaCount", "triggers"],
        "additionalProperties": False,
        "properties": {
            "scaleTargetRef": {"required": ["name"]},
            "minReplicaCount": {"type": "integer", "minimum": 0},
            "maxReplicaCount": {"type": "integer", "minimum": 1},
            "cooldownPeriod": {"type": "integer"},
            "triggers": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "required": ["type", "metadata"],
                    "properties": {
                        "type": {"const": "prometheus"},
                        "metricType": {"enum": ["AverageValue", "Value"]},
                        "metadata": {
                            "required": ["serverAddress", "query", "threshold"],
                            # KEDA's metadata are texts.
                            "additionalProperties": {"type": "string"},
                        },
                    },
                },
            },
        },
    },
    "RayService": {
        "required": ["serveConfigV2", "rayClusterConfig"],
        "additionalProperties": False,
        "properties": {
            "serveConfigV2": {"type": "string"},
            "serviceUnhealthySecondThreshold": {"type": "integer"},
            "deploymentUnhealthySecondThreshold": {"type": "integer"},
            "rayClusterConfig": {
                "required": ["headGroupSpec", "workerGroupSpecs", "rayVersion", "authOptions"],
                "additionalProperties": False,
                "properties": {
                    "rayVersion": {"type": "string"},
                    "authOptions": {"required": ["mode"], "properties": {"mode": {"const": "token"}}},
                    "enableInTreeAutoscaling": {"type": "boolean"},
                    "headGroupSpec": {"required": ["rayStartParams", "template"]},
                    "workerGroupSpecs": {
                        "type": "array",
                        "minItems": 1,
                        "items": {
                            "required": ["groupName", "replicas", "minReplicas", "maxReplicas",
                                         "rayStartParams", "template"],
                            "additionalProperties": False,
                            "properties": {
                                "rayStartParams": {"additionalProperties": {"type": "string"}},
                                "template": {"required": ["spec"]},
                                "groupName": {"type": "string"},
                                "replicas": {"type": "integer"},
                                "minReplicas": {"type": "integer"},
                                "maxReplicas": {"type": "integer"},
                            },
                        },
                    },
                },
            },
        },
    },
}  # fmt: skip
"""What the page's objects of other projects must have, by their documentation."""


def rendered(values: dict[str, Any]) -> dict[str, Any]:
    """The objects that the chart makes of some values, by kind."""
    texts = helm.render(CHART, values, name="enlarger", namespace=NAMESPACE)
    found = [
        one
        for name, text in texts.items()
        if not name.endswith("NOTES.txt")
        for one in yaml.safe_load_all(text)
        if one
    ]
    assert len({one["kind"] for one in found}) == len(found)
    return {one["kind"]: one for one in found}


def check(one: dict[str, Any]) -> None:
    """An object has what its kind must have, and nothing that its kind does not know."""
    if one["kind"] in CUSTOM:
        assert set(one) == {"apiVersion", "kind", "metadata", "spec"}
        jsonschema.validate(one["spec"], {"type": "object", **CUSTOM[one["kind"]]})
    else:
        kubernetes_validate.validate(one, VERSION, strict=True)


def test_lint_finds_nothing() -> None:
    """Helm's own."""
    found = helm.lint(CHART)
    assert found["errors"] == []
    worst = [one for one in found["messages"] if "icon is recommended" not in str(one)]
    assert worst == []


@pytest.mark.parametrize("name", VALUES)
def test_objects_are_those_that_kubernetes_knows(name: str) -> None:
    """With every combination of values above, and with those of the page."""
    objects = rendered(VALUES[name])
    assert {"Deployment", "Service", "PodDisruptionBudget"} <= set(objects)
    for one in objects.values():
        check(one)


def test_defaults_are_closed() -> None:
    """What the pod may do, and what Kubernetes asks it."""
    pod = rendered({})["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["enableServiceLinks"] is pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    paths = {
        name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("liveness", "readiness")
    }
    assert paths == {"liveness": "/livez", "readiness": "/readyz"}
    (stop,) = [int(text) for text in container["lifecycle"]["preStop"]["exec"]["command"][1:]]
    assert (
        pod["terminationGracePeriodSeconds"]
        > stop + GROUPS["server"].model_fields["drain_s"].default
    )


def test_mounts_are_the_places_of_the_image() -> None:
    """Everything that the service writes is a volume, since the root is read-only."""
    (container,) = rendered({})["Deployment"]["spec"]["template"]["spec"]["containers"]
    places = {mount["mountPath"] for mount in container["volumeMounts"]}
    stated = re.search(r"^VOLUME (\[.*\])$", (REPOSITORY / "Dockerfile").read_text(), re.MULTILINE)
    assert stated is not None
    assert places == {*json.loads(stated[1]), "/tmp"}  # noqa: S108 - of the container


def test_private_networks_cannot_be_reached() -> None:
    """Whatever the fetcher refuses, the policy refuses as well; a public address is allowed by both."""
    policy = rendered({})["NetworkPolicy"]["spec"]["egress"]
    blocks = [to["ipBlock"] for rule in policy for to in rule["to"] if "ipBlock" in to]
    rule = FetchRule.parse("public")

    def is_open(text: str) -> bool:
        address = ipaddress.ip_address(text)
        return any(
            address in ipaddress.ip_network(block["cidr"])
            and not any(address in ipaddress.ip_network(net) for net in block["except"])
            for block in blocks
        )

    refused = ("10.1.2.3", "172.20.0.1", "192.168.1.1", "169.254.169.254", "127.0.0.1", "100.64.0.1",
               "0.0.0.0", "224.0.0.1", "198.18.0.1", "::1", "fe80::1", "fd00::1", "2001:db8::1")  # noqa: S104  # fmt: skip
    assert rule is not None
    assert not any(map(is_open, refused))
    assert all(map(is_open, ("93.184.215.14", "8.8.8.8", "2606:2800:21f:cb07::1")))


@pytest.mark.parametrize("values", [{"replicas": 2}, {"autoscaling": {"kind": "hpa"}}])
def test_several_gateways_without_a_database_are_refused(values: dict[str, Any]) -> None:
    """With what to do, before anything is installed."""
    with pytest.raises(helm.HelmError, match="ENLARGER_DATABASE and UPLOAD_FOLDER"):
        rendered(values)


@pytest.mark.parametrize(
    "values", [{"replica": 2}, {"settings": {"NUM_SERVERS": 2}}, {"replicas": 0}]
)
def test_misspelt_values_are_refused(values: dict[str, Any]) -> None:
    """By the schema of the chart."""
    with pytest.raises(helm.HelmError):
        helm.validate(CHART, values)


def test_settings_of_chart_and_page_exist() -> None:
    """As variables of the service."""
    known = {
        str(field.validation_alias)
        for group in GROUPS.values()
        for field in group.model_fields.values()
    }
    named = {name for values in VALUES.values() for name in values.get("settings", {})}
    named |= set(yaml.safe_load((CHART / "values.yaml").read_text())["settings"])
    assert named <= known
    assert "ENLARGER_API_KEYS" in known


def test_commands_of_the_page_name_what_there_is() -> None:
    """The folder of the chart, its values, the name and the port of its service, and the file of Ray."""
    install, forward, _, secret, ray_image, apply = (
        shlex.split(text) for text in commands_on(PAGE)
    )
    assert install[:4] == ["helm", "install", "enlarger", "deploy/helm/enlarger"]
    values = dict(text.split("=") for flag, text in pairwise(install) if flag == "--set")
    assert set(values) == {"image.repository"}
    service = rendered({})["Service"]
    assert f"service/{service['metadata']['name']}" in forward
    assert f"8000:{service['spec']['ports'][0]['port']}" in forward
    assert {NAMESPACE} == {
        words[words.index("--namespace") + 1] for words in (install, forward, secret, apply)
    }
    assert secret[6] == VALUES["page 0"]["settingsFromSecret"]
    assert (REPOSITORY / apply[-1]) == RAY_SERVICE
    assert "EXTRAS=postgresql,otel,ray" in ray_image
    assert "**No cluster ran this chart.**" in PAGE.read_text()


def test_ray_service_has_what_its_kind_needs() -> None:
    """Its pods are checked as pods, and its Serve config is YAML that names our application."""
    one = yaml.safe_load(RAY_SERVICE.read_text())
    check(one)
    cluster = one["spec"]["rayClusterConfig"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "x"},
            "spec": group["template"]["spec"],
        }
        kubernetes_validate.validate(pod, VERSION, strict=True)
        assert pod["spec"]["enableServiceLinks"] is False
    config = yaml.safe_load(one["spec"]["serveConfigV2"])
    (application,) = config["applications"]
    assert application["name"].startswith("enlarger-")
    assert application["import_path"] == "enlarger.cluster.deployment:build"
    assert [deployment["name"] for deployment in application["deployments"]] == ["models"]
    workers = cluster["workerGroupSpecs"][0]["template"]["spec"]["containers"][0]
    assert int(workers["resources"]["requests"]["cpu"]) % application["args"]["threads"] == 0

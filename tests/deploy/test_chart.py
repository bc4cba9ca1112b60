"""The Helm chart, rendered by Helm's own engine and checked against Kubernetes' schemas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import helm_python as helm
import kubernetes_validate
import pytest
import yaml

from deploy.settings import Settings, load_settings
from tests.deploy.monitoring import DASHBOARD, DEPLOY, rules

CHART = DEPLOY / "helm/tinyt2"
KUBERNETES = ("1.27", "1.37")
CUSTOM = {"ServiceMonitor", "PrometheusRule", "ScaledObject"}
"""Kinds that operators bring: no schema of theirs is at hand."""
LEAST: dict[str, Any] = {
    "image": {"repository": "registry.example.org/tinyt2"},
    "settings": {"kafka": {"bootstrap_servers": "kafka:9092", "topics": ["alerts", "^ztf_.*"]}},
}
ALL: dict[str, Any] = LEAST | {
    "settings": {
        "kafka": LEAST["settings"]["kafka"]
        | {
            "delivery": "exactly-once",
            "client": {"security.protocol": "SASL_SSL"},
            "consumer": {"session.timeout.ms": "10000"},
        },
        "batch": {"max_messages": 100_000, "linger_ms": 20.5},
        "input": {"duplicate_window": 20_000_000},
    },
    "secret": "kafka-password",
    "files": [{"name": "tls", "secret": "kafka-tls"}, {"name": "ca", "configMap": "authority"}],
    "modelStore": {"claim": "tinyt2-refresh"},
    "partitions": 6,
    "autoscaling": {"enabled": True, "topic": "alerts", "authentication": "kafka"},
    "monitoring": {"enabled": True, "labels": {"release": "prometheus"}},
    "podAnnotations": {"a": "b"},
    "podLabels": {"team": "brokers"},
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "night", "operator": "Exists"}],
    "affinity": {"podAntiAffinity": {}},
    "priorityClassName": "high",
}


def rendered(values: dict[str, Any], release: str = "night") -> dict[str, dict[str, Any]]:
    """Return the objects by kind; the dashboard is called Dashboard."""
    with helm.Chart.load(CHART) as chart:
        texts = chart.render(values, name=release, namespace="alerts")
    objects: dict[str, dict[str, Any]] = {}
    for name, text in texts.items():
        for entry in () if name.endswith(".txt") else yaml.safe_load_all(text):
            if entry:
                dashboard = entry["metadata"]["name"].endswith("-dashboard")
                kind = "Dashboard" if dashboard else entry["kind"]
                assert kind not in objects
                objects[kind] = entry
    return objects


def pod(objects: dict[str, dict[str, Any]]) -> dict[str, Any]:
    spec: dict[str, Any] = objects["StatefulSet"]["spec"]["template"]["spec"]
    return spec


@pytest.mark.parametrize("values", [LEAST, ALL], ids=["least", "all"])
def test_helm_finds_no_fault(values: dict[str, Any]) -> None:
    found = helm.lint(CHART, values, strict=True)
    errors = [m for m in found["messages"] if m["severity"] > 1]
    assert (found["total_charts_linted"], errors) == (1, [])


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("values", [LEAST, ALL], ids=["least", "all"])
def test_kubernetes_takes_every_object(values: dict[str, Any], version: str) -> None:
    objects = rendered(values)
    checked = [entry for kind, entry in objects.items() if kind not in CUSTOM]
    assert len(checked) == (5 if values is ALL else 4)
    for entry in checked:
        kubernetes_validate.validate(entry, version, strict=True)


def test_a_schema_of_kubernetes_notices_a_wrong_field() -> None:
    entry = rendered(LEAST)["StatefulSet"]
    pod({"StatefulSet": entry})["terminationGraceSeconds"] = 45
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(entry, KUBERNETES[0], strict=True)


def test_the_settings_are_what_tinyt2_reads(tmp_path: Path) -> None:
    file = tmp_path / "tinyt2.toml"
    file.write_text(rendered(ALL)["ConfigMap"]["data"]["tinyt2.toml"])
    settings = load_settings(file, {"TINYT2__KAFKA__GROUP_INSTANCE_ID": "night-tinyt2-0"})
    assert settings.kafka.topics == ["alerts", "^ztf_.*"]
    assert settings.kafka.client == {"security.protocol": "SASL_SSL"}
    assert settings.kafka.consumer == {"session.timeout.ms": "10000"}
    # Helm writes every number with a point, which integers of the settings must bear.
    assert (settings.batch.max_messages, settings.batch.linger_ms) == (100_000, 20.5)
    assert settings.input.duplicate_window == 20_000_000
    assert settings.output == Settings().output


def test_a_pod_is_hardened_and_has_time_to_leave() -> None:
    spec = pod(rendered(LEAST))
    (container,) = spec["containers"]
    assert spec["terminationGracePeriodSeconds"] == 45
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    writable = [mount for mount in container["volumeMounts"] if not mount.get("readOnly")]
    assert [mount["mountPath"] for mount in writable] == ["/var/lib/tinyt2"]
    paths = {probe: container[probe]["httpGet"]["path"] for probe in container if "Probe" in probe}
    assert paths == {
        "startupProbe": "/health/live",
        "livenessProbe": "/health/live",
        "readinessProbe": "/health/ready",
    }


def test_a_pod_keeps_its_name_in_the_group() -> None:
    (container,) = pod(rendered(LEAST))["containers"]
    (variable,) = container["env"]
    assert variable["name"] == "TINYT2__KAFKA__GROUP_INSTANCE_ID"
    assert variable["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"


def test_secrets_come_by_reference() -> None:
    spec = pod(rendered(ALL))
    (container,) = spec["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": "kafka-password"}}]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts["file-tls"] == "/etc/tinyt2/tls"
    assert {"name": "file-tls", "secret": {"secretName": "kafka-tls"}} in spec["volumes"]


def test_pods_follow_the_model_store_of_a_claim() -> None:
    spec = pod(rendered(ALL))
    (container,) = spec["containers"]
    variables = {variable["name"]: variable.get("value") for variable in container["env"]}
    (mount,) = [mount for mount in container["volumeMounts"] if mount["name"] == "models"]
    assert (mount["mountPath"], mount["subPath"]) == (variables["TINYT2__MODEL__STORE"], "models")
    assert {
        "name": "models",
        "persistentVolumeClaim": {"claimName": "tinyt2-refresh"},
    } in spec["volumes"]
    assert load_settings(None, {"TINYT2__MODEL__STORE": mount["mountPath"]}).model.store


def test_other_settings_are_other_pods() -> None:
    key = "checksum/settings"
    checksums = {
        rendered(values)["StatefulSet"]["spec"]["template"]["metadata"]["annotations"][key]
        for values in (LEAST, ALL)
    }
    assert len(checksums) == 2


def test_scaling_ends_at_the_partitions() -> None:
    objects = rendered(ALL)
    spec = objects["ScaledObject"]["spec"]
    assert "replicas" not in objects["StatefulSet"]["spec"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (1, 6)
    assert spec["scaleTargetRef"]["name"] == objects["StatefulSet"]["metadata"]["name"]
    scaling = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert scaling["scaleDown"]["stabilizationWindowSeconds"] == 600
    (trigger,) = spec["triggers"]
    assert trigger["metadata"] == {
        "bootstrapServers": "kafka:9092",
        "consumerGroup": "tinyt2",
        "topic": "alerts",
        "lagThreshold": "2000",
        "offsetResetPolicy": "earliest",
        "allowIdleConsumers": "false",
    }


def test_prometheus_and_grafana_get_the_files_that_are_tested() -> None:
    objects = rendered(ALL)
    groups = objects["PrometheusRule"]["spec"]["groups"]
    assert [rule for group in groups for rule in group["rules"]] == rules()
    assert objects["Dashboard"]["data"]["tinyt2.json"].strip() == DASHBOARD.read_text().strip()
    monitor = objects["ServiceMonitor"]
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert monitor["spec"]["selector"]["matchLabels"].items() <= (
        objects["Service"]["metadata"]["labels"].items()
    )
    # The rules say job="tinyt2".
    label = monitor["spec"]["jobLabel"]
    assert objects["Service"]["metadata"]["labels"][label] == "tinyt2"


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"replicas": 3}, "replicas (3) are more than partitions (2)"),
        ({"partitions": 1, "replicas": 2}, "replicas (2) are more than partitions (1)"),
        ({"image": {"repository": ""}}, "repository"),
        ({"replica": 1}, "replica"),
        ({"autoscaling": {"enabled": True}}, "topic"),
        (
            {"autoscaling": {"enabled": True, "topic": "a", "minReplicas": 3}},
            "minReplicas (3) are more than partitions (2)",
        ),
        (
            {"settings": {"kafka": ALL["settings"]["kafka"] | {"client": {"retries": 5}}}},
            "/settings/kafka/client",
        ),
        ({"settings": LEAST["settings"] | {"http": {"port": 80}}}, "settings.http"),
        ({"files": [{"name": "x"}]}, "files"),
    ],
)
def test_wrong_values_are_refused(change: dict[str, Any], fault: str) -> None:
    with pytest.raises(helm.HelmError) as error, helm.Chart.load(CHART) as chart:
        values = chart.merge_values(LEAST | change)
        chart.validate_schema(values)
        chart.render(LEAST | change, name="night")
    assert fault in str(error.value)

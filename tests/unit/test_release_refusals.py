"""What makes the overlay impossible: each reason by an example, and its nearest neighbour that is fine."""

from typing import Any

import pytest

from connect_autoscaler.api.conditions import Reason
from connect_autoscaler.release.lists import JOB_BASE, JOB_POD
from connect_autoscaler.release.refusals import connect_version, refusal
from connect_autoscaler.release.values import put
from unit.release_builders import CONTENT_POOL, DEFAULTS, SERVER_POOL, subject

Json = dict[str, Any]


def laid(*path_and_value: Any) -> Json:
    document: Json = {}
    put(document, path_and_value[:-1], path_and_value[-1])
    return document


def volume(*modes: str, strategy: str = "RollingUpdate", unavailable: object = 0) -> Json:
    rolling = {"rollingUpdate": {"maxSurge": "100%", "maxUnavailable": unavailable}}
    return {
        "deployment": {
            "spec": {
                "strategy": {"type": strategy, **(rolling if strategy == "RollingUpdate" else {})},
                "template": {
                    "spec": {
                        "volumes": [{"name": "tmp"}, {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
                    }
                },
            }
        },
        "access_modes": {"data": modes},
    }


NO_STORAGE: Json = {"sharedStorage": {"create": False, "mount": False}}
AFFINITY = {
    "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": [{"key": "disk", "operator": "Exists"}]}]
        }
    }
}
DISK_POOL = {
    **SERVER_POOL,
    "spec": {
        **SERVER_POOL["spec"],
        "template": {
            **SERVER_POOL["spec"]["template"],
            "metadata": {"labels": {"workload": "connect-server", "disk": "ssd"}},
        },
    },
}
OFF = {"backends": {"kubernetes": {"enabled": False}}}

# Values and release, the reason, words of its message, and a neighbour that differs in one thing and is fine.
CASES: dict[str, tuple[tuple[Json, Json], Reason, str, tuple[Json, Json]]] = {
    "another chart": (
        ({}, {"chart": "rstudio-workbench"}),
        Reason.UNSUPPORTED_CHART,
        "The release is of chart rstudio-workbench",
        ({}, {"chart": "rstudio-connect"}),
    ),
    "old chart": (
        ({}, {"chart_version": "0.8.38"}),
        Reason.UNSUPPORTED_CHART,
        "0.8.38 ignores half of the overlay",
        ({}, {"chart_version": "0.9.0"}),
    ),
    "chart version that is none": (
        ({}, {"chart_version": "main"}),
        Reason.UNSUPPORTED_CHART,
        "main",
        ({}, {"chart_version": "v0.21.0-rc.1+build"}),
    ),
    "numbers are not letters": (
        ({}, {"chart_version": "0.8.100"}),
        Reason.UNSUPPORTED_CHART,
        "0.8.100",
        ({}, {"chart_version": "0.10.0"}),
    ),
    "hooks": (({}, {"hooks": [{"name": "a"}]}), Reason.UNSUPPORTED_CHART, "Helm hooks", ({}, {"hooks": []})),
    "Launcher": (
        ({"launcher": {"enabled": True}}, {}),
        Reason.LAUNCHER_ENABLED,
        "launcher.enabled is true",
        ({"launcher": {"enabled": False, "namespace": "content"}}, {}),
    ),
    "Launcher by default of the chart": (
        ({}, {"defaults": {"launcher": {"enabled": True}, "backends": {"kubernetes": {"enabled": False}}}}),
        Reason.LAUNCHER_ENABLED,
        "launcher.enabled is true",
        (
            {"launcher": {"enabled": False}, "backends": {"kubernetes": {"enabled": True}}},
            {"defaults": {"launcher": {"enabled": True}, "backends": {"kubernetes": {"enabled": False}}}},
        ),
    ),
    "local execution": ((OFF, {}), Reason.LOCAL_EXECUTION, "backends.kubernetes.enabled is not true", ({}, {})),
    "backend that says false in words": (
        ({"backends": {"kubernetes": {"enabled": "false"}}}, {}),
        Reason.LOCAL_EXECUTION,
        "backends.kubernetes.enabled is not true",
        ({"backends": {"kubernetes": {"enabled": "true"}}}, {}),
    ),
    "old Connect": (
        ({}, {"app_version": "2026.03.1"}),
        Reason.UNSUPPORTED_CONNECT,
        "Connect 2026.3.1 is older than 2026.04.0",
        ({}, {"app_version": "2026.04.0"}),
    ),
    "old image in a new chart": (
        ({"image": {"tag": "ubuntu2204-2026.03.1"}}, {}),
        Reason.UNSUPPORTED_CONNECT,
        "2026.3.1",
        ({"image": {"tag": "ubuntu2204-2026.10.0"}}, {}),
    ),
    "version that nobody can read": (
        ({"image": {"tag": "our-build-7"}}, {}),
        Reason.VERSION_UNKNOWN,
        "set versionOverride",
        ({"image": {"tag": "our-build-7"}, "versionOverride": "2026.08.0"}, {}),
    ),
    "no storage": (
        (NO_STORAGE, {}),
        Reason.STORAGE_MISSING,
        "no shared storage",
        ({**NO_STORAGE, "config": {"Kubernetes": {"DataDirPVCName": "data"}}}, {}),
    ),
    "no storage created": (
        ({"sharedStorage": {"create": False, "mount": False, "name": "data"}}, {}),
        Reason.STORAGE_MISSING,
        "no shared storage",
        ({"sharedStorage": {"create": False, "mount": True, "name": "data"}}, {}),
    ),
    "job base of another kind": (
        (laid(*JOB_BASE, "kind", "Pod"), {}),
        Reason.JOB_BASE_INVALID,
        "defaultResourceJobBase.kind is Pod",
        (laid(*JOB_BASE, "kind", "Job"), {}),
    ),
    "list that is a map": (
        ({"tolerations": {"key": "a"}}, {}),
        Reason.INVALID_VALUES,
        "/tolerations",
        ({"tolerations": [{"key": "a"}]}, {}),
    ),
    "annotation of renders as a map": (
        (laid("config", "Kubernetes", "RenderedContentAnnotation", {"a": "b"}), {}),
        Reason.INVALID_VALUES,
        "/config/Kubernetes/RenderedContentAnnotation",
        (laid("config", "Kubernetes", "RenderedContentAnnotation", "a=b"), {}),
    ),
    "null that takes defaults away": (
        ({"pod": None}, {"defaults": {"pod": {"annotations": {}, "labels": {"team": "a"}}, **DEFAULTS}}),
        Reason.INVALID_VALUES,
        "/pod",
        ({"pod": None}, {"defaults": {"pod": {"annotations": {}, "labels": {}}, **DEFAULTS}}),
    ),
    "null further up": (
        ({"config": None}, {"defaults": {**DEFAULTS, "config": {"Kubernetes": {}, "Server": {"Address": "a"}}}}),
        Reason.INVALID_VALUES,
        "/config",
        ({"config": None}, {}),
    ),
    "selector of the servers": (
        (laid("nodeSelector", "workload", "other"), {}),
        Reason.NODE_SELECTOR_CONFLICT,
        "Value /nodeSelector/workload of the release is other, the profile needs connect-server",
        (laid("nodeSelector", "workload", "connect-server"), {}),
    ),
    "selector of content": (
        (laid(*JOB_POD, "nodeSelector", "workload", "other"), {}),
        Reason.NODE_SELECTOR_CONFLICT,
        "the profile needs connect-content",
        (laid(*JOB_POD, "nodeSelector", "workload", "connect-content"), {}),
    ),
    "label that the server pool has not": (
        ({"nodeSelector": {"disk": "ssd"}}, {}),
        Reason.AFFINITY_CONFLICT,
        "The servers could run on no node of NodePool connect-server: the release asks for nodeSelector disk=ssd",
        ({"nodeSelector": {"disk": "ssd"}}, {"server_pools": [DISK_POOL]}),
    ),
    "label by default of the chart": (
        ({}, {"defaults": {"nodeSelector": {"disk": "ssd"}, "backends": {"kubernetes": {"enabled": True}}}}),
        Reason.AFFINITY_CONFLICT,
        "nodeSelector disk=ssd",
        (
            {"nodeSelector": {"disk": None}},
            {"defaults": {"nodeSelector": {"disk": "ssd"}, "backends": {"kubernetes": {"enabled": True}}}},
        ),
    ),
    "affinity of the servers": (
        ({"pod": {"affinity": AFFINITY}}, {}),
        Reason.AFFINITY_CONFLICT,
        "pod.affinity.nodeAffinity: disk Exists",
        ({"affinity": AFFINITY}, {}),  # read by no template
    ),
    "affinity of content": (
        (laid(*JOB_POD, "affinity", AFFINITY), {}),
        Reason.AFFINITY_CONFLICT,
        "Content could run on no node of NodePool connect-content",
        (laid(*JOB_POD, "affinity", {"nodeAffinity": "text"}), {}),
    ),
    "label that no content pool has": (
        (laid(*JOB_POD, "nodeSelector", "gpu", "yes"), {"content_pools": [CONTENT_POOL, CONTENT_POOL]}),
        Reason.AFFINITY_CONFLICT,
        "NodePool connect-content, connect-content: the release asks for nodeSelector gpu=yes",
        (
            laid(*JOB_POD, "nodeSelector", "kubernetes.io/arch", "amd64"),
            {"content_pools": [CONTENT_POOL, CONTENT_POOL]},
        ),
    ),
    "volume of one node": (
        ({}, volume("ReadWriteOnce")),
        Reason.STORAGE_NOT_SHARED,
        "PersistentVolumeClaim data is ReadWriteOnce",
        ({}, volume("ReadWriteOnce", strategy="Recreate")),
    ),
    "volume of one pod": (
        ({}, volume("ReadWriteOncePod", "ReadWriteOnce", unavailable="0%")),
        Reason.STORAGE_NOT_SHARED,
        "ReadWriteOncePod, ReadWriteOnce",
        ({}, volume("ReadWriteOncePod", "ReadWriteMany", unavailable="0%")),
    ),
    "volume of one node, rolled without a gap": (
        ({}, volume("ReadWriteOnce", unavailable="0")),
        Reason.STORAGE_NOT_SHARED,
        "use ReadWriteMany storage, or strategy.type: Recreate",
        ({}, volume("ReadWriteOnce", unavailable=1)),
    ),
}


@pytest.mark.parametrize(("release", "reason", "words"), [case[:3] for case in CASES.values()], ids=CASES)
def test_refused(release: tuple[Json, Json], reason: Reason, words: str) -> None:
    config, fields = release
    found = refusal(subject(config, **fields))
    assert found is not None
    assert found.reason is reason
    assert words in found.message
    assert found.stalled, "only the user can end it"


@pytest.mark.parametrize("neighbour", [case[3] for case in CASES.values()], ids=CASES)
def test_not_refused(neighbour: tuple[Json, Json]) -> None:
    config, fields = neighbour
    assert refusal(subject(config, **fields)) is None


def test_the_most_fundamental_reason_comes_first() -> None:
    wrong: Json = {**OFF, **NO_STORAGE, "nodeSelector": {"workload": "other"}, "tolerations": "none"}
    found = refusal(subject(wrong, chart_version="0.8.0", app_version="2026.01.0"))
    assert found is not None
    assert found.reason is Reason.UNSUPPORTED_CHART
    found = refusal(subject(wrong, app_version="2026.01.0"))
    assert found is not None
    assert found.reason is Reason.LOCAL_EXECUTION


def test_volumes_that_nothing_is_known_of_are_no_reason() -> None:
    assert refusal(subject({}, **{**volume(), "access_modes": {}})) is None
    assert refusal(subject({}, **volume())) is None


def test_one_pool_of_several_is_enough() -> None:
    assert refusal(subject({"nodeSelector": {"disk": "ssd"}}, server_pools=[SERVER_POOL, DISK_POOL])) is None
    assert refusal(subject({}, server_pools=[], content_pools=[])) is None


@pytest.mark.parametrize(
    ("values", "app_version", "found"),
    [
        ({}, "2026.08.0", (2026, 8, 0)),
        ({}, "bionic-2022.09.0", (2022, 9, 0)),
        ({}, "", None),
        ({"image": {"tag": ""}, "versionOverride": ""}, "2026.08.0", (2026, 8, 0)),
        ({"image": {"tag": None}, "versionOverride": None}, "2026.08.0", (2026, 8, 0)),
        ({"versionOverride": "2026.10.11"}, "2026.08.0", (2026, 10, 11)),
        ({"image": {"tag": "2026.09.0-ubuntu-24.04"}, "versionOverride": "2026.01.0"}, "2026.08.0", (2026, 9, 0)),
        ({"image": {"tag": "own"}, "versionOverride": "2026.05.0"}, "2026.08.0", (2026, 5, 0)),
        ({"image": {"tag": "own"}}, "2026.08.0", None),
        ({"image": {"tag": 2026.08}}, "2026.08.0", None),
    ],
)
def test_connect_version(values: Json, app_version: str, found: tuple[int, ...] | None) -> None:
    assert connect_version(values, app_version) == found

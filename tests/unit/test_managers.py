"""Who changed a field, read from managedFields as a real API server (1.36) keeps it for NodePools of Karpenter 1.14."""

from typing import Any

import pytest

from connect_autoscaler.nodepools.managers import UNKNOWN, Author, author, culprit
from connect_autoscaler.nodepools.paths import Element, Path

Json = dict[str, Any]

T: Path = ("spec", "template", "spec")
LABELS: Path = ("spec", "template", "metadata", "labels")
TAINT = Element((("key", "workload"), ("effect", "NoSchedule")))
FOREIGN_TAINT = Element((("key", "x"), ("effect", "NoSchedule")))


def entry(manager: str, fields: Json, time: str = "2026-03-02T12:00:00Z", **more: str) -> Json:
    base = {"apiVersion": "karpenter.sh/v1", "fieldsType": "FieldsV1", "operation": "Update"}
    return {**base, "manager": manager, "time": time, "fieldsV1": fields, **more}


def pool(*entries: Json) -> Json:
    return {"metadata": {"managedFields": list(entries)}}


OURS = entry(
    "connect-autoscaler",
    {
        "f:metadata": {
            "f:annotations": {"f:connect-autoscaler.io/profile-uid": {}},
            "f:finalizers": {'v:"connect-autoscaler.io/protect"': {}},
            "f:labels": {"f:app.kubernetes.io/managed-by": {}, "f:connect-autoscaler.io/profile": {}},
        },
        "f:spec": {
            "f:disruption": {"f:budgets": {}, "f:consolidateAfter": {}, "f:consolidationPolicy": {}},
            "f:limits": {"f:cpu": {}},
            "f:template": {
                "f:metadata": {"f:annotations": {"f:example.com/a": {}}, "f:labels": {}},
                "f:spec": {
                    "f:expireAfter": {},
                    "f:nodeClassRef": {"f:group": {}, "f:kind": {}, "f:name": {}},
                    "f:requirements": {},
                    "f:taints": {},
                },
            },
            "f:weight": {},
        },
    },
    operation="Apply",
)
EDIT = entry(
    "kubectl-edit",
    {"f:spec": {"f:disruption": {"f:budgets": {}}, "f:limits": {"f:cpu": {}, "f:memory": {}}, "f:weight": {}}},
    "2026-03-02T12:00:10Z",
)
TERRAFORM = entry(
    "terraform",
    {
        "f:metadata": {"f:finalizers": {'v:"example.com/f"': {}}},
        "f:spec": {
            "f:template": {
                "f:metadata": {"f:annotations": {"f:b": {}}, "f:labels": {}},
                "f:spec": {"f:taints": {}},
            }
        },
    },
    "2026-03-02T12:00:20Z",
)
KARPENTER_STATUS = entry(
    "karpenter",
    {
        "f:status": {
            ".": {},
            "f:conditions": {
                ".": {},
                'k:{"type":"Ready"}': {".": {}, "f:lastTransitionTime": {}, "f:status": {}, "f:type": {}},
            },
            "f:nodes": {},
        }
    },
    "2026-03-02T12:00:30Z",
    subresource="status",
)
CREATED = entry(
    "kubectl-create",
    {
        "f:metadata": {
            "f:annotations": {".": {}, "f:connect-autoscaler.io/profile-uid": {}},
            "f:finalizers": {".": {}, 'v:"connect-autoscaler.io/protect"': {}},
        },
        "f:spec": {
            ".": {},
            "f:disruption": {".": {}, "f:budgets": {}, "f:consolidateAfter": {}},
            "f:limits": {".": {}, "f:cpu": {}},
            "f:template": {
                ".": {},
                "f:metadata": {".": {}, "f:annotations": {".": {}, "f:example.com/a": {}}, "f:labels": {}},
                "f:spec": {".": {}, "f:nodeClassRef": {".": {}, "f:name": {}}, "f:taints": {}},
            },
            "f:weight": {},
        },
    },
)
LIVE = pool(OURS, EDIT, KARPENTER_STATUS, TERRAFORM)


@pytest.mark.parametrize(
    ("path", "manager"),
    [
        (("spec", "weight"), "kubectl-edit"),
        (("spec", "limits", "cpu"), "kubectl-edit"),
        (("spec", "limits", "memory"), "kubectl-edit"),
        (("spec", "limits", "nvidia.com/gpu"), "unknown"),
        (("spec", "disruption", "budgets"), "kubectl-edit"),
        (("spec", "disruption", "consolidateAfter"), "unknown"),
        # Atomic lists and maps are owned whole: their owner answers for every element, and for missing ones.
        ((*T, "taints", TAINT), "terraform"),
        ((*T, "taints", FOREIGN_TAINT), "terraform"),
        ((*LABELS, "team"), "terraform"),
        ((*LABELS, "workload"), "terraform"),
        ((*T, "requirements", Element((("key", "a"), ("operator", "In")))), "unknown"),
        # Granular ones are not.
        (("spec", "template", "metadata", "annotations", "b"), "terraform"),
        (("spec", "template", "metadata", "annotations", "example.com/a"), "unknown"),
        (("metadata", "finalizers", "example.com/f"), "terraform"),
        (("metadata", "finalizers", "connect-autoscaler.io/protect"), "unknown"),
        # Removed fields leave no trace.
        (("spec", "template", "spec", "terminationGracePeriod"), "unknown"),
        (("status", "nodes"), "unknown"),
        (("",), "unknown"),
    ],
)
def test_author(path: Path, manager: str) -> None:
    assert author(LIVE, path).manager == manager


@pytest.mark.parametrize(
    ("path", "manager"),
    [
        (("spec", "weight"), "kubectl-create"),
        (("spec", "limits", "cpu"), "kubectl-create"),
        (("spec", "limits", "memory"), "unknown"),
        ((*T, "nodeClassRef", "name"), "kubectl-create"),
        ((*T, "nodeClassRef", "kind"), "unknown"),
        ((*T, "taints", TAINT), "kubectl-create"),
        ((*LABELS, "workload"), "kubectl-create"),
        (("metadata", "finalizers", "connect-autoscaler.io/protect"), "kubectl-create"),
        (("metadata", "annotations", "connect-autoscaler.io/profile-uid"), "kubectl-create"),
    ],
)
def test_author_of_what_was_created_by_an_update(path: Path, manager: str) -> None:
    assert author(pool(CREATED), path).manager == manager


def test_the_latest_of_several_owners_is_named_and_never_ourselves() -> None:
    argo = entry("argocd", {"f:spec": {"f:weight": {}}}, "2026-03-02T11:00:00Z", operation="Apply")
    assert author(pool(OURS, argo), ("spec", "weight")) == Author("argocd", "2026-03-02T11:00:00Z")
    assert author(pool(argo, OURS, EDIT), ("spec", "weight")) == Author("kubectl-edit", "2026-03-02T12:00:10Z")
    assert author(pool(EDIT, OURS, argo), ("spec", "weight")) == Author("kubectl-edit", "2026-03-02T12:00:10Z")
    zealot = entry("zealot", {"f:spec": {"f:weight": {}}}, "2026-03-02T11:00:00Z")
    assert author(pool(zealot, EDIT), ("spec", "weight")).manager == "kubectl-edit"
    assert author(pool(OURS), ("spec", "weight")) == UNKNOWN


def test_a_copy_of_the_operator_is_named_by_what_only_we_could_have_written() -> None:
    assert culprit(pool(OURS), ("spec", "weight"), 9).manager == "connect-autoscaler"
    assert culprit(pool(OURS, EDIT), ("spec", "weight"), 9).manager == "kubectl-edit"
    assert culprit(pool(OURS), ("spec", "weight"), None) == UNKNOWN
    assert culprit(pool(OURS), ("spec", "replicas"), 1) == UNKNOWN


def test_entries_of_subresources_own_nothing_of_the_object() -> None:
    scale = entry("kubectl-scale", {"f:spec": {"f:replicas": {}}}, subresource="scale")
    assert author(pool(scale), ("spec", "replicas")) == UNKNOWN


def test_elements_of_granular_lists_are_told_apart() -> None:
    keyed: Json = {
        "f:spec": {"f:template": {"f:spec": {"f:taints": {'k:{"key":"x","effect":"NoSchedule"}': {".": {}}}}}}
    }
    assert author(pool(entry("theirs", keyed)), (*T, "taints", FOREIGN_TAINT)).manager == "theirs"
    assert author(pool(entry("theirs", keyed)), (*T, "taints", TAINT)) == UNKNOWN


@pytest.mark.parametrize(
    "live",
    [
        {"metadata": {}},
        pool({}),
        pool({"manager": "x"}),
        pool({"manager": "x", "fieldsV1": {}}),
        pool({"fieldsV1": {"f:spec": {".": {}}}, "manager": "x"}),
    ],
)
def test_sparse_entries(live: Json) -> None:
    assert author(live, ("spec", "weight")) == UNKNOWN


def test_an_entry_may_lack_manager_and_time() -> None:
    assert author(pool({"fieldsV1": {"f:spec": {"f:weight": {}}}}), ("spec", "weight")) == Author("unknown", None)

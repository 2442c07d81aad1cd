"""Specs on either side of the rules outside of the pools, and across them."""

from crd_schema import POOLS
from integration.crd_case import ADDITIONAL, Case, taint
from integration.crd_pool_cases import POOL_CASES
from integration.crd_server_cases import SERVER_CASES
from profile_specs import NODE_CLASS, Spec, on

RELEASE: Spec = {"namespace": "posit", "name": "connect"}
AUTO_MODE: Spec = {"group": "eks.amazonaws.com", "kind": "NodeClass", "name": "default"}
REF_STAYS = "group and kind of the NodeClass in effect are immutable: they must stay what they were"
OWN_KEY = (
    "labels, requirements, taints and startupTaints must not contain placement.labelKey: the operator sets it itself"
)
AT_MOST_504H = (
    "must be at most 504h with EKS Auto Mode's NodeClass (eks.amazonaws.com), which refuses Never and longer lives"
)
AT_MOST_504H = (
    "must be at most 504h with EKS Auto Mode's NodeClass (eks.amazonaws.com), which refuses Never and longer lives"
)

# Rules of the whole spec that are about one pool.
ACROSS_CASES = [
    case
    for pool in POOLS
    for case in (
        Case(
            f"spec.{pool.removesuffix('[]')}",
            OWN_KEY,
            (on(pool, {"labels": {"x": "y"}, "taints": [taint("x")]}),),
            (
                on(pool, {"labels": {"workload": "x"}}),
                on(pool, {"requirements": [{"key": "workload", "operator": "Exists"}]}),
                on(pool, {"taints": [taint("workload")]}),
                on(pool, {"startupTaints": [taint("workload", "NoExecute")]}),
                {"placement": {"labelKey": "a"}, **on(pool, {"labels": {"a": "x"}})},
            ),
        ),
        Case(
            f"spec.{pool.removesuffix('[]')}",
            REF_STAYS,
            (on(pool, {"nodeClassRef": {**AUTO_MODE, "name": "b"}, "expireAfter": "504h"}),),
            (
                on(pool, {"nodeClassRef": {**AUTO_MODE, "group": "karpenter.k8s.aws"}, "expireAfter": "504h"}),
                on(pool, {"nodeClassRef": {**AUTO_MODE, "kind": "EC2NodeClass"}, "expireAfter": "504h"}),
                on(pool, {"expireAfter": "504h"}),
            ),
            before=on(pool, {"nodeClassRef": AUTO_MODE, "expireAfter": "504h"}),
        ),
        Case(
            f"spec.{pool.removesuffix('[]')}",
            REF_STAYS,
            (on(pool, {}), on(pool, {"nodeClassRef": {**NODE_CLASS, "name": "b"}})),
            (on(pool, {"nodeClassRef": {**NODE_CLASS, "kind": "Other"}}),),
            before=on(pool, {}),
        ),
        Case(
            f"spec.{pool}.expireAfter".replace("[].expireAfter", ""),
            f"expireAfter {AT_MOST_504H}" if pool == ADDITIONAL else AT_MOST_504H,
            (
                on(pool, {"nodeClassRef": AUTO_MODE, "expireAfter": "504h"}),
                on(pool, {"nodeClassRef": AUTO_MODE, "expireAfter": "Never", "management": "External"}),
                on(pool, {"nodeClassRef": {**AUTO_MODE, "kind": "Other"}, "expireAfter": "Never"}),
            ),
            (
                on(pool, {"nodeClassRef": AUTO_MODE, "expireAfter": "Never"}),
                on(pool, {"nodeClassRef": AUTO_MODE, "expireAfter": "504h1s"}),
                on(pool, {"nodeClassRef": AUTO_MODE, "expireAfter": "720h"}),
            ),
        ),
    )
]

SPEC_CASES = [
    Case(
        "spec.interval",
        "must be a duration of at least 1m and at most 1h, such as 5m",
        ({"interval": "1m"}, {"interval": "3600s"}, {"interval": "1m30s"}),
        ({"interval": "59s"}, {"interval": "1h1s"}),
    ),
    *(
        Case(
            "spec.nodeClassRef",
            f"{field} is immutable: it must stay what it was (Karpenter refuses to change it on a NodePool)",
            ({"nodeClassRef": {**NODE_CLASS, "name": "b"}},),
            ({"nodeClassRef": {**NODE_CLASS, field: "other"}},),
            before={},
        )
        for field in ("group", "kind")
    ),
    Case(
        "spec.placement.labelKey",
        "must be a label of your own, such as workload or example.com/workload: "
        "the domains karpenter.sh, kubernetes.io, node.kubernetes.io and topology.kubernetes.io are reserved",
        (
            {"placement": {"labelKey": "example.com/workload"}},
            {"placement": {"labelKey": "node-restriction.kubernetes.io/workload"}},
        ),
        (
            {"placement": {"labelKey": "karpenter.sh/capacity-type"}},
            {"placement": {"labelKey": "sub.karpenter.sh/x"}},
            {"placement": {"labelKey": "kubernetes.io/hostname"}},
            {"placement": {"labelKey": "topology.kubernetes.io/zone"}},
            {"placement": {"labelKey": "node.kubernetes.io/instance-type"}},
        ),
    ),
    Case(
        "spec.placement",
        "server and content must have different values",
        ({"placement": {"server": "a", "content": "b"}},),
        ({"placement": {"server": "a", "content": "a"}}, {"placement": {"server": "connect-content"}}),
    ),
    Case(
        "spec.placement",
        "placement is immutable: it must stay what it was",
        ({"placement": {"labelKey": "a"}},),
        ({"placement": {"labelKey": "b"}}, {"placement": {"labelKey": "a", "server": "b"}}, {}),
        before={"placement": {"labelKey": "a"}},
    ),
    Case(
        "spec.contentPool.name",
        "must differ from serverPool.name",
        ({"serverPool": {"name": "a"}, "contentPool": {"name": "b"}},),
        ({"serverPool": {"name": "a"}, "contentPool": {"name": "a"}}, {"contentPool": {"name": "connect-server"}}),
    ),
    Case(
        "spec.additionalContentPools",
        "names must differ from serverPool.name and contentPool.name",
        ({"additionalContentPools": [{"name": "gpu"}, {"name": "big"}]},),
        (
            {"additionalContentPools": [{"name": "gpu"}, {"name": "connect-server"}]},
            {"additionalContentPools": [{"name": "connect-content"}]},
        ),
    ),
    Case(
        "spec.content.renderedDoNotDisrupt",
        'must be "true" (quoted) or a duration longer than zero such as 4h',
        ({"content": {"renderedDoNotDisrupt": "true"}}, {"content": {"renderedDoNotDisrupt": "90m"}}),
        ({"content": {"renderedDoNotDisrupt": "0s"}},),
    ),
    Case(
        "spec.release.namespace",
        "namespace is immutable: it must stay what it was",
        ({"release": RELEASE},),
        ({"release": {**RELEASE, "namespace": "other"}},),
        before={"release": RELEASE},
    ),
    Case(
        "spec.release.name",
        "name is immutable: it must stay what it was",
        ({"release": {**RELEASE, "timeout": "20m"}},),
        ({"release": {**RELEASE, "name": "other"}},),
        before={"release": RELEASE},
    ),
    Case(
        "spec",
        "release must not be removed; set driftPolicy.release to Ignore to leave the release alone",
        ({"release": RELEASE, "driftPolicy": {"release": "Ignore"}},),
        ({},),
        before={"release": RELEASE},
    ),
    Case(
        "spec.release.chart",
        "must have at most one of repository, oci and path",
        ({"release": {**RELEASE, "chart": {}}}, {"release": {**RELEASE, "chart": {"path": "rstudio-connect"}}}),
        (
            {"release": {**RELEASE, "chart": {"path": "a", "oci": "oci://registry.example.com/a"}}},
            {"release": {**RELEASE, "chart": {"path": "a", "repository": "https://charts.example.com"}}},
        ),
    ),
    Case(
        "spec.release.chart",
        "secretName must only be given with repository or oci",
        (
            {"release": {**RELEASE, "chart": {"oci": "oci://registry.example.com/a", "secretName": "a"}}},
            {"release": {**RELEASE, "chart": {"secretName": "a"}}},
        ),
        ({"release": {**RELEASE, "chart": {"path": "a", "secretName": "a"}}},),
    ),
    Case(
        "spec.release.chart.path",
        "must stay below the operator's --chart-dir: .. is not allowed",
        ({"release": {**RELEASE, "chart": {"path": "connect/..v1/chart-0.21.0.tgz"}}},),
        ({"release": {**RELEASE, "chart": {"path": "../a"}}}, {"release": {**RELEASE, "chart": {"path": "a/../../b"}}}),
    ),
    Case(
        "spec.release.timeout",
        "must be a duration longer than zero and at most 6h, such as 15m",
        ({"release": {**RELEASE, "timeout": "1s"}}, {"release": {**RELEASE, "timeout": "6h"}}),
        ({"release": {**RELEASE, "timeout": "0m"}}, {"release": {**RELEASE, "timeout": "6h1s"}}),
    ),
    Case(
        "spec.disruptions.windows[].duration",
        "must be a duration longer than zero and at most 168h, such as 4h",
        ({"disruptions": {"windows": [{"schedule": "@daily", "duration": "168h"}]}},),
        (
            {"disruptions": {"windows": [{"schedule": "@daily", "duration": "0s"}]}},
            {"disruptions": {"windows": [{"schedule": "@daily", "duration": "169h"}]}},
        ),
    ),
    Case(
        "spec.driftPolicy.ignore[]",
        "must have paths or managers, or both",
        (
            {"driftPolicy": {"ignore": [{"paths": ["/spec/weight"]}, {"managers": ["kubectl-edit"]}]}},
            {"driftPolicy": {"ignore": [{"target": {"kind": "Release"}, "paths": ["/a"], "managers": ["b"]}]}},
        ),
        ({"driftPolicy": {"ignore": [{"target": {"kind": "NodePool"}}]}}, {"driftPolicy": {"ignore": [{}]}}),
    ),
    Case(
        "spec.deletionPolicy.release",
        "must be Restore if deletionPolicy.nodePools is Delete and a release is set: "
        "its pods would stay pinned to nodes that are gone",
        (
            {"deletionPolicy": {"nodePools": "Delete"}},
            {"release": RELEASE, "deletionPolicy": {"nodePools": "Delete", "release": "Restore"}},
            {"release": RELEASE, "deletionPolicy": {"release": "Restore"}},
        ),
        ({"release": RELEASE, "deletionPolicy": {"nodePools": "Delete"}},),
    ),
    Case(
        "spec.connectAPI",
        "must go with release: the Secret is read from the namespace of the release",
        ({"release": RELEASE, "connectAPI": {"secretName": "a"}},),
        ({"connectAPI": {"secretName": "a"}},),
    ),
    Case(
        "spec.recovery.orphanedJobs",
        "must be Report unless connectAPI is set: jobs are run again through the Connect API",
        (
            {"recovery": {"orphanedJobs": "Report"}},
            {"release": RELEASE, "connectAPI": {"secretName": "a"}, "recovery": {"orphanedJobs": "Rerun"}},
        ),
        ({"recovery": {"orphanedJobs": "Rerun"}}, {"release": RELEASE, "recovery": {"orphanedJobs": "Rerun"}}),
    ),
]

CASES = [*POOL_CASES, *SERVER_CASES, *ACROSS_CASES, *SPEC_CASES]

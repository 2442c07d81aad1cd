"""Specs on either side of the rules that every pool has."""

from integration.crd_case import CAPACITY, CONTENT, SERVER, Case, budgets, pools, requirement, taint
from profile_specs import Spec

ZERO: Spec = {"nodes": "0"}
KEYS = (
    "keys must be label keys: a name of at most 63 characters, optionally after a DNS prefix and a slash, "
    "such as example.com/team"
)

POOL_CASES = [
    *pools(
        Case(
            "management",
            "management is immutable: it must stay what it was",
            ({"management": "External"},),
            ({"management": "Managed"},),
            before={"management": "External"},
        )
    ),
    *pools(
        Case(
            "name", "name is immutable: it must stay what it was", ({"name": "a"},), ({"name": "b"}, {}), {"name": "a"}
        ),
        SERVER,
        CONTENT,
    ),
    *pools(
        Case(
            "requirements[].key",
            "must not be in the label domain karpenter.sh, except karpenter.sh/capacity-type",
            (
                requirement(CAPACITY, "In", "on-demand", "reserved"),
                requirement("karpenter.k8s.aws/instance-cpu", "Gt", "4"),
                requirement("kubernetes.io/arch", "In", "arm64"),
            ),
            (requirement("karpenter.sh/nodepool", "Exists"), requirement("compatibility.karpenter.sh/x", "Exists")),
        )
    ),
    *pools(
        Case(
            "requirements[].key",
            "must not be kubernetes.io/hostname: Karpenter reserves it",
            (requirement("kubernetes.io/os", "In", "linux"),),
            (requirement("kubernetes.io/hostname", "Exists"),),
        )
    ),
    *pools(
        Case(
            "requirements[]",
            "operators In and NotIn must have at least one value",
            (requirement("a", "In", "b"), requirement("a", "NotIn", "")),
            (
                requirement("a", "In"),
                requirement("a", "NotIn"),
                {"requirements": [{"key": "a", "operator": "In", "values": []}]},
            ),
        )
    ),
    *pools(
        Case(
            "requirements[]",
            'operators Gt, Lt, Gte and Lte must have exactly one value, an integer of zero or more such as "4"',
            (requirement("a", "Gt", "0"), requirement("a", "Lte", "4"), requirement("a", "Gte", "999999999999999999")),
            (
                requirement("a", "Gt"),
                requirement("a", "Lt", "4", "5"),
                requirement("a", "Gte", "four"),
                requirement("a", "Lte", "4.5"),
                requirement("a", "Gt", "9" * 19),
            ),
        )
    ),
    *pools(
        Case(
            "requirements[]",
            "operators Exists and DoesNotExist must have no values",
            (requirement("a", "Exists"), {"requirements": [{"key": "a", "operator": "DoesNotExist", "values": []}]}),
            (requirement("a", "Exists", "b"), requirement("a", "DoesNotExist", "b")),
        )
    ),
    *pools(
        Case(
            "requirements[]",
            "operator In must list at least minValues values",
            (requirement("a", "In", "b", "c", minValues=2), requirement("a", "Exists", minValues=5)),
            (requirement("a", "In", "b", "c", minValues=3),),
        )
    ),
    *pools(
        Case(
            "requirements[]",
            "values of karpenter.sh/capacity-type must be on-demand, reserved or spot",
            (requirement(CAPACITY, "NotIn", "spot"), requirement("a", "In", "ondemand")),
            (requirement(CAPACITY, "In", "ondemand"), requirement(CAPACITY, "In", "on-demand", "Reserved")),
        )
    ),
    *pools(
        Case(
            "disruption.budgets[]",
            "schedule must be set together with duration, or neither of them",
            (budgets(ZERO), budgets(ZERO, {"nodes": "1", "schedule": "@daily", "duration": "8h"})),
            (budgets(ZERO, {"nodes": "1", "schedule": "@daily"}), budgets(ZERO, {"nodes": "1", "duration": "8h"})),
        )
    ),
    *pools(
        Case(
            "disruption.budgets",
            "must have at least one budget (Karpenter reads an empty list as no limit at all); "
            "leave the field out for the built-in budgets",
            (budgets(ZERO), {}),
            (budgets(),),
        )
    ),
    *pools(
        Case(
            "expireAfter",
            "must be Never or a duration longer than zero such as 720h "
            "(at zero Karpenter deletes every node as soon as it is created)",
            ({"expireAfter": "Never"}, {"expireAfter": "1s"}, {"expireAfter": "99999h"}),
            ({"expireAfter": "0s"}, {"expireAfter": "0h0m0s"}),
        )
    ),
    *pools(
        Case(
            "labels",
            KEYS,
            ({"labels": {"example.com/team": "data", "a": ""}}, {"labels": {f"{'d' * 253}/{'n' * 62}": "x"}}),
            (
                {"labels": {"two words": "x"}},
                {"labels": {"": "x"}},
                {"labels": {"example.com/": "x"}},
                {"labels": {"n" * 64: "x"}},
                {"labels": {f"{'d' * 253}/{'n' * 63}": "x"}},
            ),
        )
    ),
    *pools(
        Case(
            "labels",
            "keys must not be in the label domain karpenter.sh, except karpenter.sh/capacity-type",
            ({"labels": {CAPACITY: "on-demand"}}, {"labels": {"karpenter.k8s.aws/x": "y"}}),
            ({"labels": {"karpenter.sh/nodepool": "x"}}, {"labels": {"sub.karpenter.sh/x": "y"}}),
        )
    ),
    *pools(
        Case(
            "labels",
            "keys must not be kubernetes.io/hostname: Karpenter reserves it",
            ({"labels": {"kubernetes.io/arch": "amd64"}},),
            ({"labels": {"kubernetes.io/hostname": "x"}},),
        )
    ),
    *pools(
        Case(
            "annotations",
            KEYS,
            ({"annotations": {"example.com/note": "any text, of any kind"}},),
            ({"annotations": {"two words": "x"}}, {"annotations": {"a/b/c": "x"}}),
        )
    ),
    *pools(
        Case(
            "annotations",
            "keys must not be in the domain karpenter.sh, "
            "except karpenter.sh/do-not-disrupt and karpenter.sh/do-not-repair",
            ({"annotations": {"karpenter.sh/do-not-disrupt": "true", "karpenter.sh/do-not-repair": "true"}},),
            ({"annotations": {"karpenter.sh/nodepool-hash": "1"}},),
        )
    ),
    *pools(
        Case(
            "limits",
            "keys must be resource names such as cpu, memory, nodes or nvidia.com/gpu",
            ({"limits": {"cpu": 64, "memory": "256Gi", "nvidia.com/gpu": "8"}},),
            ({"limits": {"c p u": 1}}, {"limits": {"/cpu": 1}}),
        )
    ),
    *pools(
        Case(
            "",
            "taints and startupTaints must not contain the same key and effect",
            (
                {"taints": [taint("a")], "startupTaints": [taint("b")]},
                {"taints": [taint("a")], "startupTaints": [taint("a", "NoExecute")]},
            ),
            ({"taints": [taint("x"), taint("a")], "startupTaints": [taint("a")]},),
        )
    ),
]

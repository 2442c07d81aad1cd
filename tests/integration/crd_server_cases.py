"""Specs on either side of the rules that only the server pool has."""

from integration.crd_case import CAPACITY, SERVER, Case, budgets, pools, requirement

SERVER_CASES = [
    case
    for each in (
        Case(
            "disruption.consolidationPolicy",
            "must be WhenEmpty on the server pool: every other policy lets Karpenter move running servers",
            ({"disruption": {"consolidationPolicy": "WhenEmpty"}},),
            (
                {"disruption": {"consolidationPolicy": "Balanced"}},
                {"disruption": {"consolidationPolicy": "WhenEmptyOrUnderutilized"}},
            ),
        ),
        Case(
            "disruption.budgets",
            'must keep an always-on budget of "0" nodes (without a schedule) for the reasons Underutilized and Drifted',
            (
                budgets({"nodes": "0"}),
                budgets({"nodes": "0%"}, {"nodes": "50%"}),
                budgets({"nodes": "0", "reasons": ["Drifted"]}, {"nodes": "0", "reasons": ["Underutilized", "Empty"]}),
            ),
            (
                budgets({"nodes": "1"}),
                budgets({"nodes": "10%"}),
                budgets({"nodes": "0", "reasons": ["Drifted"]}),
                budgets({"nodes": "0", "reasons": ["Underutilized", "Empty"]}),
                budgets({"nodes": "0", "schedule": "@daily", "duration": "23h"}, {"nodes": "1"}),
            ),
        ),
        Case(
            "terminationGracePeriod",
            "must not be set on the server pool: when it ends Karpenter deletes the server pods, "
            "whatever protects them; leave it out",
            ({},),
            ({"terminationGracePeriod": "48h"},),
        ),
        Case(
            "requirements",
            "must keep spot nodes out of the server pool: "
            "karpenter.sh/capacity-type must be In without spot, or NotIn with spot",
            (
                requirement(CAPACITY, "In", "on-demand", "reserved"),
                requirement(CAPACITY, "NotIn", "spot"),
                requirement("example.com/kind", "In", "spot"),
            ),
            (
                requirement(CAPACITY, "In", "on-demand", "spot"),
                requirement(CAPACITY, "NotIn", "reserved"),
                requirement(CAPACITY, "Exists"),
            ),
        ),
        Case(
            "labels",
            "must keep spot nodes out of the server pool: the label karpenter.sh/capacity-type must not be spot",
            ({"labels": {CAPACITY: "reserved"}}, {"labels": {"a": "spot"}}),
            ({"labels": {CAPACITY: "spot"}},),
        ),
    )
    for case in pools(each, SERVER)
]

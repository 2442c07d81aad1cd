"""Snapshots by chance: profiles in every mode, pools in every state that people and machines bring them into."""

from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from hypothesis import strategies as st

from connect_autoscaler.api.conditions import Problem, Reason
from connect_autoscaler.api.names import ANNOTATION_APPROVE, FINALIZER_PROFILE
from connect_autoscaler.api.profile import Profile
from connect_autoscaler.core import report
from connect_autoscaler.core.errors import KubeError, Retry
from connect_autoscaler.core.model import Fight, Outcome, Plan, Snapshot
from connect_autoscaler.core.plan import plan
from connect_autoscaler.nodepools.claims import NodeClaim
from profile_specs import merged
from unit.builders import (
    KARPENTER_1_14,
    KARPENTER_1_15,
    NOW,
    Json,
    claim,
    edited,
    live_pool,
    peer,
    profile,
    recorded,
    snapshot,
    terminating,
)
from unit.release_views import RELEASE, deleted, owned, release_views

SPECS: tuple[Json, ...] = (
    {},
    {"serverPool": {"deletionProtection": False}, "contentPool": {"deletionProtection": True}},
    {"serverPool": {"management": "External"}},
    {"contentPool": {"disruption": {"budgets": [{"nodes": "0", "reasons": ["Drifted"]}]}, "limits": {"cpu": "64"}}},
    {
        "serverPool": {"annotations": {"a/b": "c"}, "labels": {"team": "a"}, "weight": 3},
        "contentPool": {"expireAfter": "100h", "startupTaints": [{"key": "s", "effect": "NoExecute"}]},
        "additionalContentPools": [{"name": "gpu", "limits": {"nvidia.com/gpu": 4}}],
    },
)
RULES: tuple[Json, ...] = (
    {"paths": ["/spec/weight"]},
    {"paths": ["/spec/template/metadata/labels"]},
    {"paths": ["/spec/limits"], "managers": ["kubectl-edit"]},
    {"paths": ["/spec/disruption"], "target": {"kind": "NodePool", "name": "connect-server"}},
    {"managers": ["bot"]},
    {"paths": ["/metadata"]},
    {"paths": ["/"], "target": {"kind": "NodePool", "name": "connect-content"}},
    {"paths": ["/spec"], "target": {"kind": "Release"}},
)
GATES: tuple[Json, ...] = (
    {"when": "Immediately"},
    {"when": "WhenIdle"},
    {"when": "OnApproval"},
    {"when": "Immediately", "windows": [{"schedule": "0 3 * * *", "duration": "1h"}]},
    {"when": "Immediately", "windows": [{"schedule": "0 0 30 2 *", "duration": "1h"}]},
)
BENDS: tuple[Json, ...] = (
    {"spec": {"weight": 7}},
    {"spec": {"limits": {"cpu": "1", "memory": "1Gi"}}},
    {"spec": {"limits": None}},
    {"spec": {"replicas": 2}},
    {"spec": {"disruption": {"budgets": [{"nodes": "100%"}]}}},
    {"spec": {"disruption": {"consolidateAfter": "1s"}}},
    {"spec": {"template": {"metadata": {"labels": {"team": "theirs", "workload": "x"}}}}},
    {"spec": {"template": {"metadata": {"annotations": {"theirs": "x"}}}}},
    {"spec": {"template": {"metadata": {"annotations": None}}}},
    {"spec": {"template": {"spec": {"taints": [{"key": "theirs", "effect": "NoSchedule"}]}}}},
    {"spec": {"template": {"spec": {"startupTaints": [{"key": "t", "effect": "NoSchedule"}]}}}},
    {"spec": {"template": {"spec": {"expireAfter": "24h", "terminationGracePeriod": "1h"}}}},
    {"spec": {"template": {"spec": {"requirements": []}}}},
    {"spec": {"template": {"spec": {"nodeClassRef": {"kind": "Other"}}}}},
    {"spec": {"future": {"field": [{}]}}},
    {"metadata": {"finalizers": ["example.com/theirs"]}},
    {"metadata": {"labels": {"app.kubernetes.io/managed-by": "theirs"}}},
)
MARKS: tuple[Json, ...] = (
    {"labels": {"connect-autoscaler.io/profile": None}, "annotations": {"connect-autoscaler.io/profile-uid": None}},
    {"labels": {"connect-autoscaler.io/profile": "rival"}, "annotations": {"connect-autoscaler.io/profile-uid": None}},
    {"annotations": {"connect-autoscaler.io/profile-uid": "uid-of-the-dead"}},
    {"annotations": {"connect-autoscaler.io/profile-uid": "uid-of-rival"}},
)
POINTERS = ("", "/", "/spec/weight", "/spec/disruption/budgets", "/spec/template/spec/expireAfter")
RIVALS = (
    peer("rival", created=NOW - timedelta(days=60)),
    peer("rival", created=NOW - timedelta(days=1)),
    peer("rival", spec={"serverPool": {"name": "s"}, "contentPool": {"name": "c"}, "placement": {"labelKey": "w"}}),
    peer(
        "rival",
        spec={**RELEASE, "serverPool": {"name": "s"}, "contentPool": {"name": "c"}, "placement": {"labelKey": "w"}},
        created=NOW - timedelta(days=60),
    ),
)
KARPENTERS = (KARPENTER_1_14, KARPENTER_1_15, None, replace(KARPENTER_1_14, atomic_labels=False))
NODE_CLASS = Problem(Reason.NODE_CLASS_NOT_FOUND, "EC2NodeClass default does not exist", stalled=False)


def _often(usual: Any, *others: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from([*[usual] * (2 * len(others) + 1), *others])


SELDOM: Final = _often(*(False, True))
MOSTLY: Final = _often(*(True, False))


@st.composite
def specs(draw: st.DrawFn) -> tuple[Json, Json]:
    """Return a spec, and the one that was rolled out before."""
    spec = merged(
        draw(st.sampled_from(SPECS)),
        {
            "mode": draw(_often("Enforce", "Plan")),
            "suspend": draw(SELDOM),
            "takeOver": draw(st.sampled_from(["Never", "IfNoDiff", "Always"])),
            "disruptions": draw(st.sampled_from(GATES)),
            "release": RELEASE["release"],
            "deletionPolicy": draw(
                st.sampled_from(
                    [
                        {"nodePools": "Retain", "release": "Keep"},
                        {"nodePools": "Retain", "release": "Restore"},
                        {"nodePools": "Delete", "release": "Restore"},
                    ]
                )
            ),
            "driftPolicy": {
                "nodePools": draw(_often("Correct", "Warn", "Ignore")),
                "release": draw(st.sampled_from(["Correct", "Warn"])),
                "ignore": draw(st.lists(st.sampled_from(RULES), max_size=2, unique_by=str)),
            },
        },
    )
    return spec, draw(_often(spec, *SPECS))


@st.composite
def live_pools(draw: st.DrawFn, owner: Profile) -> dict[str, Json]:
    """Return what became of the pools that a profile once wrote."""
    result = {}
    for pool in owner.pools:
        live = live_pool(owner, pool.name, age=draw(st.sampled_from([5.0, 3600.0])))
        for change in draw(st.lists(st.sampled_from(BENDS), max_size=2)):
            live = edited(live, change, draw(st.sampled_from(["kubectl-edit", "bot"])))
        for marks in draw(_often([], *[[marks] for marks in MARKS])):
            live = edited(live, {"metadata": marks}, "thief")
        state = draw(_often("there", "gone", "terminating"))
        if state != "gone":
            result[pool.name] = terminating(live) if state == "terminating" else live
    return result


@st.composite
def node_claims(draw: st.DrawFn, owner: Profile) -> list[NodeClaim]:
    """Return NodeClaims of its pools, some of them born while somebody had bent a pool."""
    result = []
    for pool in owner.pools:
        for n in range(draw(st.integers(0, 2))):
            parent = live_pool(owner, pool.name)
            if draw(st.booleans()):
                parent = edited(parent, draw(st.sampled_from(BENDS)))
            result.append(
                claim(
                    parent,
                    f"{pool.name}-{n}",
                    owned=draw(st.booleans()),
                    deleting=draw(SELDOM),
                    conditions=draw(_often(("Launched", "Registered", "Ready"), ("Launched",), ())),
                )
            )
    return result


@st.composite
def snapshots(draw: st.DrawFn, *, deleting: st.SearchStrategy[bool] | None = None) -> Snapshot:
    """Return everything that a pass may see."""
    spec, written = draw(specs())
    before = profile(written)
    pools = draw(live_pools(before))
    seen = recorded(snapshot(before, [live_pool(before, pool.name) for pool in before.pools]))
    status = seen.profile.status if draw(MOSTLY) else profile().status
    owner = profile(
        spec,
        deleting=draw(deleting if deleting is not None else SELDOM),
        finalizers=draw(_often((FINALIZER_PROFILE,), ())),
        generation=draw(st.sampled_from([1, 2])),
    )
    fights = [
        Fight(f"NodePool/{pool.name}", pointer, "bot", draw(st.sampled_from([None, NOW + timedelta(seconds=9)])))
        for pool in owner.pools
        for pointer in draw(_often([], *([pointer] for pointer in POINTERS)))
    ]
    result = snapshot(
        replace(owner, status=status),
        pools.values(),
        draw(node_claims(before)),
        karpenter=draw(_often(*KARPENTERS)),
        node_class=draw(_often(None, NODE_CLASS)),
        peers=tuple(draw(_often([], *([rival] for rival in RIVALS)))),
        fights=tuple(fights),
        corrections_today=draw(st.integers(0, 3)),
        release=draw(st.none() | release_views()),
    )
    if draw(st.booleans()):
        result = planned(result)
    if draw(SELDOM):
        annotations = {ANNOTATION_APPROVE: plan(result, NOW).digest or ""}
        result = replace(result, profile=replace(result.profile, annotations=annotations))
    return result


def planned(seen: Snapshot) -> Snapshot:
    """Return the same after its plan was written to status."""
    said = {"plan": report._planned(plan(seen, NOW))}
    return replace(seen, profile=replace(seen.profile, status=seen.profile.status.model_copy(update=said)))


@st.composite
def releases(draw: st.DrawFn) -> Snapshot:
    """Return a release of a profile whose NodePools are as they should be."""
    release, restore = draw(release_views()), draw(SELDOM)
    spec = {
        "mode": draw(_often("Enforce", "Plan")),
        "suspend": draw(SELDOM),
        "disruptions": draw(st.sampled_from(GATES)),
        "driftPolicy": {"release": draw(st.sampled_from(["Correct", "Warn"]))},
    }
    seen = deleted(release, spec) if restore else owned(release, spec)
    if draw(MOSTLY):
        seen = planned(seen)
    if draw(SELDOM):
        annotations = {ANNOTATION_APPROVE: plan(seen, NOW).digest or ""}
        seen = replace(seen, profile=replace(seen.profile, annotations=annotations))
    return seen


ERRORS = (
    KubeError(403, Reason.FORBIDDEN, "patch NodePool: is forbidden", Retry.USER),
    KubeError(409, Reason.CONFLICT, "patch NodePool: changed", Retry.SOON),
    KubeError(401, Reason.UNAUTHORIZED, "patch NodePool: who are you", Retry.LATER),
)


@st.composite
def outcomes(draw: st.DrawFn, decided: Plan) -> Outcome:
    """Return what may become of a plan: each action is done or fails."""
    errors = [(action, draw(_often(None, *ERRORS))) for action in decided.actions]
    return Outcome(
        done=tuple(action for action, error in errors if error is None),
        failed=tuple((action, error) for action, error in errors if error is not None),
    )

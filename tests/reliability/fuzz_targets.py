"""What is fuzzed: everything that reads what others have written. Each target makes an input, and takes one.

To take an input means to carry it as far as the operator would; only the errors that the code declares may end that.
"""

import base64
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from random import Random
from typing import Any, Final

import yaml
from pydantic import ValidationError

from connect_autoscaler.api.conditions import Problem, Reason
from connect_autoscaler.api.profile import Profile
from connect_autoscaler.core import report
from connect_autoscaler.core.cache import EVERY, Cache, Raw
from connect_autoscaler.core.engine import _decisive
from connect_autoscaler.core.model import Outcome, Snapshot
from connect_autoscaler.core.plan import plan
from connect_autoscaler.handlers import _claim, _parse
from connect_autoscaler.nodepools.claims import NodeClaim
from connect_autoscaler.nodepools.ownership import mark
from connect_autoscaler.nodepools.shape import shaped
from connect_autoscaler.placement.scene import Guest, Node
from connect_autoscaler.release.facts import assess
from connect_autoscaler.release.history import Entry, UnreadableError, decode
from connect_autoscaler.release.manifest import shown_by_pod
from connect_autoscaler.release.merge import merge
from connect_autoscaler.release.pods import Pod
from connect_autoscaler.release.state import Holder, Record, State
from integration.crd_spec_cases import CASES
from profile_specs import FULL, SMALLEST, merged
from reliability.fuzz_inputs import Json, packed, respelled, spoiled
from unit.builders import NOW, live_pool, profile, recorded, snapshot
from unit.release_builders import CONTENT_POOL, SERVER_POOL, release, secret
from unit.values_strategies import OVERLAYS

MANIFEST: Final = """
apiVersion: v1
kind: ConfigMap
metadata: {name: connect-rstudio-connect}
data:
  rstudio-connect.gcfg: |
    [Kubernetes]
    Enabled = true
    RenderedContentAnnotation = karpenter.sh/do-not-disrupt=true
  job.yaml: |
    kind: Job
    spec: {template: {spec: {nodeSelector: {workload: connect-content}}}}
---
apiVersion: v1
kind: Service
metadata: {name: connect}
spec: {selector: {app: connect}, ports: [{name: http, port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: connect, namespace: posit}
spec:
  selector: {matchLabels: {app: connect}}
  template:
    metadata: {annotations: {checksum/config: abc}}
    spec:
      nodeSelector: {workload: connect-server}
      tolerations: [{key: workload, operator: Exists}]
      containers:
        - name: connect
          volumeMounts: [{name: config, subPath: rstudio-connect.gcfg, mountPath: /etc}]
      volumes: [{name: config, configMap: {name: connect-rstudio-connect}}]
"""
"""What the chart renders, in small."""
VALUES: Final[Json] = {
    "replicas": 2,
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "mine", "operator": "Exists"}],
    "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}],
    "pod": {"annotations": {"mine": "yes"}},
    "sharedStorage": {"create": True},
    "image": {"tag": "2026.08.0"},
    "strategy": {"type": "RollingUpdate"},
    "backends": {"kubernetes": {"enabled": True, "defaultResourceJobBase": {"spec": {"template": {"spec": {}}}}}},
    "config": {"Kubernetes": {"RenderedContentAnnotation": ["a=b"]}, "Server": {"Address": "https://example.com"}},
}
_OWNER: Final = profile(FULL)
_LIVE: Final = [live_pool(_OWNER, name) for name in ("servers", "content", "gpu")]
_ROLLED_OUT: Final = recorded(snapshot(_OWNER, _LIVE))
_SAID: Final = report.status(_ROLLED_OUT, plan(_ROLLED_OUT, NOW), Outcome(), NOW).dump()
_RENDERED: Final = list(yaml.safe_load_all(MANIFEST))
_ACCEPTED: Final = [patch for case in CASES for patch in case.accept]
_REFUSED: Final = [patch for case in CASES if case.before is None for patch in case.reject]


@dataclass(frozen=True)
class Target:
    """Something to fuzz.

    Attributes:
        make: Gives an input, which is JSON.
        take: Takes one; whatever it raises is a fault.
        share: How many of a hundred inputs are for it.
    """

    make: Callable[[Random], Any]
    take: Callable[[Any], None]
    share: int


def _spec(by: Random) -> Any:
    spec = by.choice((SMALLEST, FULL))
    for patch in by.sample(_ACCEPTED, by.choice((0, 1, 3))) + by.sample(_REFUSED, by.choice((0, 0, 1))):
        spec = merged(spec, patch)
    return spoiled(spec, by) if by.random() < 0.8 else spec


def _take_spec(spec: Any) -> None:
    body = {"metadata": _metadata("fuzzed"), "spec": spec}
    try:
        owner = Profile.of(body)
    except ValidationError:
        Profile.bare(body)
        return
    _planned(snapshot(owner))
    found = [{**_LIVE[0], "metadata": {**_LIVE[0]["metadata"], "name": pool.name}} for pool in owner.pools]
    _planned(snapshot(owner, found))


def _planned(seen: Snapshot) -> None:
    decided = plan(seen, NOW)
    said = report.status(seen, decided, Outcome(done=decided.actions), NOW)
    json.dumps(said.dump())


def _metadata(name: str) -> Json:
    return {
        "name": name,
        "uid": f"uid-of-{name}",
        "generation": 2,
        "resourceVersion": "12",
        "creationTimestamp": "2026-03-01T08:00:00Z",
    }


def _release(by: Random) -> Any:
    whole = release(VALUES, manifest=MANIFEST)
    found = secret(whole)
    found["data"]["release"] = packed(spoiled(whole, by) if by.random() < 0.8 else whole, by)
    return spoiled(found, by) if by.random() < 0.2 else found


def _take_release(found: Any) -> None:
    Entry.of(found)
    try:
        revision = decode(found)
    except UnreadableError as error:
        _short(error)
        return
    _assessed(revision)


def _short(error: Exception) -> None:
    assert len(str(error)) < 1000, "an error that tells too much"


def _assessed(revision: Any, state: State | None = None) -> None:
    try:
        facts, found = assess(
            _OWNER,
            revision,
            "posit",
            state,
            server_pools=[SERVER_POOL],
            content_pools=[CONTENT_POOL],
            access_modes={},
        )
    except UnreadableError:
        return
    json.dumps(found.values)
    assert facts.revision == revision.number


def _state(by: Random) -> Any:
    before = State("ab", applied=dict(by.choice(OVERLAYS)), corrections=(("2026-03-01T08:00:00Z", "kubectl"),))
    record = Record("a", dict(OVERLAYS[0]), {}, 1, "", Holder("host", None, 1, "b"), "2026-03-01T08:00:00Z", "cause")
    raw = asdict(before.begin(record) if by.random() < 0.5 else before)
    return spoiled(raw, by)


def _take_state(raw: Any) -> None:
    try:
        text = json.dumps(raw).encode()
    except ValueError:
        return
    found = {"metadata": _metadata("state"), "data": {"state": base64.b64encode(text).decode()}}
    state = State.of(found)
    if state is None:
        return
    state.digest(VALUES)
    state.secret("a", "b", "c", "d")
    _assessed(decode(secret(release(VALUES, manifest=MANIFEST))), state)


def _values(by: Random) -> Any:
    return {
        "config": spoiled(VALUES, by),
        "defaults": spoiled(VALUES, by) if by.random() < 0.3 else {},
        "applied": dict(by.choice(OVERLAYS)) if by.random() < 0.5 else {},
        "wanted": dict(by.choice(OVERLAYS)),
    }


def _take_values(found: Any) -> None:
    try:
        read = decode(secret(release(found["config"], defaults=found["defaults"], manifest=MANIFEST)))
    except UnreadableError as error:
        _short(error)
        return
    made = merge(read.config, read.defaults, found["applied"], found["wanted"], {})
    merge(made.values, read.defaults, found["wanted"], {}, made.prior)
    _assessed(read)


def _objects(by: Random) -> Any:
    chance = by.random()
    if chance < 0.4:
        return {"manifest": "\n---\n".join(map(json.dumps, spoiled(_RENDERED, by))), "pods": []}
    if chance < 0.7:
        at = by.randrange(len(MANIFEST))
        junk = by.choice(
            ("\x00", "[" * 5000, "&a [*a, *a]", "- ", "\t", "%", "!!python/object:os.system", "*b", "é", "---\n")
        )
        return {"manifest": MANIFEST[:at] + junk + MANIFEST[at:], "pods": []}
    return {"manifest": MANIFEST, "pods": [respelled(_POD, by, _required) for _ in range(3)]}


_POD: Final[Json] = {
    "metadata": {
        **_metadata("pod"),
        "namespace": "posit",
        "labels": {"app": "connect"},
        "annotations": {"karpenter.sh/do-not-disrupt": "true"},
        "ownerReferences": [{"kind": "ReplicaSet", "name": "a", "uid": "b", "apiVersion": "apps/v1"}],
    },
    "spec": {
        "nodeName": "node",
        "nodeSelector": {"workload": "connect-server"},
        "tolerations": [{"key": "workload", "operator": "Exists"}],
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}],
    },
    "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
}


def _take_objects(found: Any) -> None:
    revision = decode(secret(release(VALUES, manifest=found["manifest"])))
    _assessed(revision)
    for body in found["pods"]:
        Pod.of(body)
        Guest.of(body)
        Node.of(body)
        shown_by_pod(body)


_REQUIRED: Final = frozenset(
    (
        *("spec", "template", "nodeClassRef", "group", "kind", "requirements", "operator", "key", "effect", "type"),
        *("status", "consolidateAfter", "nodes", "conditions", "reason", "message", "lastTransitionTime"),
    )
)


def _required(_: Any, key: Any) -> bool:
    """Tell what the schema of an object guarantees."""
    return key in _REQUIRED


_NODE_CLAIM: Final[Json] = {
    "metadata": {
        **_metadata("claim"),
        "labels": {"karpenter.sh/nodepool": "servers", "kubernetes.io/arch": "amd64"},
        "annotations": {"karpenter.sh/nodepool-hash": "1"},
        "ownerReferences": [{"kind": "NodePool", "name": "servers", "uid": "uid-of-servers"}],
        "finalizers": ["karpenter.sh/termination"],
    },
    "spec": {
        "nodeClassRef": {"group": "a", "kind": "B", "name": "c"},
        "expireAfter": "720h",
        "taints": [{"key": "workload", "value": "connect-server", "effect": "NoSchedule"}],
    },
    "status": {"nodeName": "node", "conditions": [{"type": "Ready", "status": "True", "reason": "Ready"}]},
}


def _events(by: Random) -> Any:
    """Return what watches may tell: at times beyond what a schema lets through, as after a change of the schema."""
    typed = by.random() < 0.6
    how = partial(respelled, by=by, keep=_required) if typed else partial(spoiled, by=by)
    pools = [how(live) for live in _LIVE[:2]]
    claims = [how(_NODE_CLAIM) for _ in range(2)]
    return {"pools": pools, "claims": claims}


def _take_events(found: Any) -> None:
    pools, claims = Cache[Raw](), Cache[NodeClaim]()
    index: dict[Any, list[Any]] = {}
    for body in found["pools"]:
        pool = Raw(body)
        for key in (("name", pool.name), *(("mark", by) for by in mark(pool) if by), EVERY):
            index.setdefault(key, []).append(pool)
        pools.arrived(pool)
        _decisive(pool)
    pools.attach(index)
    read = [claim for body in found["claims"] if (claim := _claim(body))]
    for claim in read:
        claims.wrote(claim)
        claims.arrived(claim)
    seen = pools.by(("mark", _OWNER.uid), ("mark", _OWNER.name), ("name", "servers"), ("name", "content"))
    live = {name: shaped(pool) for name, pool in seen.items()}
    _planned(snapshot(_OWNER, live.values(), read))
    _planned(replace(_ROLLED_OUT, pools=live))


def _status(by: Random) -> Any:
    """Return a profile as another version of the operator, or somebody with kubectl, may have left it."""
    metadata = {
        **_metadata("production"),
        "annotations": {"connect-autoscaler.io/approve": by.choice(("", "a", "a-b", "é"))},
    }
    return {"metadata": metadata, "spec": FULL, "status": spoiled(_SAID, by)}


def _take_status(body: Any) -> None:
    parsed = _parse(body)
    if parsed is None:
        bare = Profile.bare(body)
        json.dumps(report.stopped(bare, [Problem(Reason.INVALID, "unreadable")], NOW).dump())
        return
    _planned(snapshot(parsed, _LIVE[:2]))


TARGETS: Final[dict[str, Target]] = {
    "spec": Target(_spec, _take_spec, 35),
    "release": Target(_release, _take_release, 25),
    "state": Target(_state, _take_state, 10),
    "values": Target(_values, _take_values, 15),
    "objects": Target(_objects, _take_objects, 3),
    "events": Target(_events, _take_events, 7),
    "status": Target(_status, _take_status, 5),
}

"""One profile with all that belongs to it, and what everybody can see of it."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from harness import EVENTS, NODE_CLAIMS, NODE_CLASS, NODE_POOLS, PROFILES, Api, Json, Profile, Workspace
from integration.claims import node_claim
from profile_specs import Spec
from reliability.releases import OwnRelease
from sandbox import Cluster

Picture = dict[str, Any]
"""The end state without what differs from run to run: names, uids, versions, times, counters."""

_BASE: Final[Spec] = {
    "serverPool": {"taints": [{"key": "example.com/own", "effect": "NoExecute"}], "limits": {"cpu": "64"}},
    "contentPool": {"weight": 5, "limits": {"cpu": "64", "memory": "1Gi"}},
}
_STATED: Final = ("type", "status", "reason", "message")
_POOL: Final = ("name", "ready", "reason", "owned", "management", "outdatedNodes", "lostNodeClaims")
_REVISION: Final = re.compile(r"(?<=[Rr]evision )\d+")
_SUM: Final = re.compile(r"\b[0-9a-f]{64}\b")
_DIGEST: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Stage:
    """Objects whose names begin alike, in a workspace that removes them.

    Attributes:
        workspace: Where.
        own: What every name begins with, and the profile's name.
        release: The profile's release, if there is one.
    """

    workspace: Workspace
    own: str
    release: OwnRelease | None = None

    @property
    def cluster(self) -> Cluster:
        return self.workspace.cluster

    @property
    def api(self) -> Api:
        return self.workspace.api

    @property
    def profile(self) -> Profile:
        return Profile(self.own, f"{self.own}-server", f"{self.own}-content", self.api)

    @property
    def stranger(self) -> str:
        """Return the name of a NodePool that belongs to nobody."""
        return f"{self.own}-stranger"

    def create_profile(self, **patch: Any) -> Profile:
        """Create the profile."""
        reference = {"release": self.release.reference} if self.release else {}
        return self.workspace.profile(self.own, **{**_BASE, **reference, **patch})

    def create_stranger(self) -> None:
        """Create a NodePool that looks as if it could be the profile's, but is not."""
        requirement = {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}
        reference = {key: NODE_CLASS[key] for key in ("group", "kind", "name")}
        template = {"spec": {"nodeClassRef": reference, "requirements": [requirement]}}
        metadata = {"name": self.stranger, "labels": {"app.kubernetes.io/managed-by": "somebody-else"}}
        self.workspace.create(
            NODE_POOLS,
            {
                "kind": "NodePool",
                "metadata": metadata,
                "spec": {"template": template, "disruption": {"consolidateAfter": "0s"}},
            },
        )

    def create_claim(self, pool: str) -> str:
        """Create a NodeClaim of a pool that exists, as Karpenter would; return its name."""
        return node_claim(self.workspace, self.api.get(NODE_POOLS, pool), name=f"{pool}-claim")

    def version(self) -> str:
        """Return the resourceVersion that the API server is at."""
        listed = self.cluster.api.get(version=PROFILES.version, url=PROFILES.plural, params={"limit": 1})
        listed.raise_for_status()
        return str(listed.json()["metadata"]["resourceVersion"])

    def events(self) -> list[Json]:
        """Return the Kubernetes Events about the profile."""
        found = self.api.list(EVENTS, fieldSelector=f"regarding.name={self.own}")
        return [{"type": each["type"], "reason": each["reason"], "note": each.get("note", "")} for each in found]

    def stranger_state(self) -> Json:
        """Return what nobody but its owner may change of the stranger."""
        pool = self.api.get(NODE_POOLS, self.stranger)
        meta = {key: pool["metadata"].get(key) for key in ("uid", "labels", "annotations", "finalizers", "generation")}
        return {**meta, "spec": pool["spec"], "release": self.release and self.release.strangers()}

    def picture(self) -> Picture:
        """Return the state as it is now."""
        profile = self.api.find(PROFILES, self.own)
        pools = {name: self.api.find(NODE_POOLS, name) for name in (self.profile.server, self.profile.content)}
        claims = self.api.list(NODE_CLAIMS)
        seen = {
            "profile": profile and _profile(profile, pools),
            "pools": {name: pool and _pool(pool) for name, pool in pools.items()},
            "claims": {
                claim["metadata"]["name"]: {
                    "owners": [owner["kind"] for owner in claim["metadata"].get("ownerReferences", ())],
                    "going": "deletionTimestamp" in claim["metadata"],
                }
                for claim in claims
                if claim["metadata"]["name"].startswith(self.own)
            },
            "release": self.release and self.release.picture(),
        }
        text = _DIGEST.sub("uid", json.dumps(seen, sort_keys=True)).replace(self.own, "*")
        text = _SUM.sub("sum", _REVISION.sub("n", text))
        return dict(json.loads(text))


def _profile(body: Json, pools: Mapping[str, Json | None]) -> Json:
    status = body.get("status", {})
    conditions = [{key: each.get(key) for key in _STATED} for each in status.get("conditions", ())]
    generation = body["metadata"]["generation"]
    return {
        "spec": body["spec"],
        "finalizers": body["metadata"].get("finalizers", []),
        "going": "deletionTimestamp" in body["metadata"],
        "behind": status.get("observedGeneration") != generation,
        "conditions": sorted(conditions, key=lambda each: str(each["type"])),
        "pools": [
            {
                **{key: pool.get(key) for key in _POOL},
                "told": _generation(pools.get(pool["name"])) == pool.get("generation"),
            }
            for pool in status.get("nodePools", ())
        ],
        "mode": status.get("mode"),
        "plan": [{**each, "message": ""} for each in status.get("plan", ())],
        "drift": [item["path"] for item in status.get("drift", {}).get("items", ()) if item["action"] != "Corrected"],
    }


def _generation(pool: Json | None) -> int | None:
    return int(pool["metadata"]["generation"]) if pool else None


def _pool(body: Mapping[str, Any]) -> Json:
    meta = body["metadata"]
    return {
        "labels": meta.get("labels", {}),
        "annotations": meta.get("annotations", {}),
        "finalizers": meta.get("finalizers", []),
        "going": "deletionTimestamp" in meta,
        "spec": body["spec"],
    }

"""The operator at work, for tests and the demo.

    async with Operator(cluster):                        # or LocalOperator; both install deploy/ first
        async with Workspace(cluster) as workspace:      # removes at the end what was created with it
            profile = workspace.profile(contentPool={"weight": 5})   # names of its own
            await profile.ready()
            async with Timeline(cluster, NODE_POOLS) as timeline:    # a watch from outside
                workspace.api.merge(NODE_POOLS, profile.content, {"spec": {"weight": 6}}, manager="kubectl-edit")
                await timeline.until(lambda event: event.object["spec"].get("weight") == 5)

`api` reads and writes raw JSON, `operators` runs the operator, `workspace` creates and cleans up, `watches` sees what
everybody sees, `karpenter` stands in for Karpenter's status where none runs, `installation` is what an administrator
does first: `kubectl apply -k deploy`.
"""

from harness.api import (
    COLLEAGUE,
    EVENTS,
    NODE_CLAIMS,
    NODE_CLASSES,
    NODE_POOLS,
    NODES,
    PODS,
    PROFILES,
    Api,
    Json,
    Kind,
    unique,
)
from harness.installation import DEPLOY, NAMESPACE, NODE_CLASS, ROOT, USER, install, kustomize
from harness.karpenter import FakeKarpenterStatus, stamp_ready
from harness.operators import LocalOperator, Operator
from harness.releases import Release
from harness.watches import Event, Timeline, watch
from harness.workspace import Profile, Workspace

__all__ = [
    "COLLEAGUE",
    "DEPLOY",
    "EVENTS",
    "NAMESPACE",
    "NODES",
    "NODE_CLAIMS",
    "NODE_CLASS",
    "NODE_CLASSES",
    "NODE_POOLS",
    "PODS",
    "PROFILES",
    "ROOT",
    "USER",
    "Api",
    "Event",
    "FakeKarpenterStatus",
    "Json",
    "Kind",
    "LocalOperator",
    "Operator",
    "Profile",
    "Release",
    "Timeline",
    "Workspace",
    "install",
    "kustomize",
    "stamp_ready",
    "unique",
    "watch",
]

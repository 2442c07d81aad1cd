"""The NodePools of a profile, and their NodeClaims, by what they are for. Pure."""

from connect_autoscaler.api.pools import Role
from connect_autoscaler.core.model import Json, Snapshot
from connect_autoscaler.nodepools.claims import NodeClaim
from connect_autoscaler.nodepools.render import render


def bodies(snapshot: Snapshot) -> tuple[list[Json], list[Json]]:
    """The NodePools of servers and of content: as they are to be, or, if others manage them, as they are."""
    found: dict[Role, list[Json]] = {Role.SERVER: [], Role.CONTENT: []}
    for pool in snapshot.profile.pools:
        live = snapshot.pools.get(pool.name)
        if pool.managed and snapshot.karpenter:
            found[pool.role].append(render(snapshot.profile, pool, snapshot.karpenter))
        elif live is not None:
            found[pool.role].append(live)
    return found[Role.SERVER], found[Role.CONTENT]


def live(snapshot: Snapshot) -> tuple[list[Json], list[Json], list[NodeClaim], list[NodeClaim]]:
    """The live NodePools of servers and of content, and the NodeClaims of each."""
    pools: dict[Role, list[Json]] = {Role.SERVER: [], Role.CONTENT: []}
    claims: dict[Role, list[NodeClaim]] = {Role.SERVER: [], Role.CONTENT: []}
    for pool in snapshot.profile.pools:
        if (live := snapshot.pools.get(pool.name)) is not None:
            pools[pool.role].append(live)
        claims[pool.role] += snapshot.claims.get(pool.name, ())
    return pools[Role.SERVER], pools[Role.CONTENT], claims[Role.SERVER], claims[Role.CONTENT]

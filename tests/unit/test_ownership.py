"""Whose a NodePool is, and which of several profiles may have what they ask for."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connect_autoscaler.api.names import ANNOTATION_PROFILE_UID, LABEL_PROFILE
from connect_autoscaler.nodepools.ownership import (
    Ownership,
    Peer,
    contested_placement,
    contested_pool,
    mark,
    ownership,
    pruned_by,
)
from unit.builders import NOW, peer, profile

Json = dict[str, Any]

ME = peer("production")
OTHER = peer("staging", created=NOW - timedelta(days=60))


def marked(name: str | None, uid: str | None, **metadata: Any) -> Json:
    labels = {LABEL_PROFILE: name} if name else {}
    annotations = {ANNOTATION_PROFILE_UID: uid} if uid else {}
    return {"metadata": {"name": "connect-server", "labels": labels, "annotations": annotations, **metadata}}


@pytest.mark.parametrize(
    ("name", "uid", "expected"),
    [
        ("production", "uid-of-production", Ownership.OURS),
        ("renamed", "uid-of-production", Ownership.OURS),
        (None, "uid-of-production", Ownership.OURS),
        # Deleted and applied again, or restored from a backup: our name, a uid that nobody has.
        ("production", "uid-of-the-dead", Ownership.OURS),
        ("production", None, Ownership.OURS),
        ("production", "uid-of-staging", Ownership.OTHERS),
        ("staging", "uid-of-staging", Ownership.OTHERS),
        ("staging", "uid-of-the-dead", Ownership.OTHERS),
        ("staging", None, Ownership.OTHERS),
        ("gone", "uid-of-the-dead", Ownership.NOBODYS),
        (None, None, Ownership.NOBODYS),
        (None, "uid-of-the-dead", Ownership.NOBODYS),
    ],
)
def test_ownership(name: str | None, uid: str | None, expected: Ownership) -> None:
    assert ownership(marked(name, uid), ME, [OTHER]) is expected


def test_a_pool_without_metadata_is_nobodys() -> None:
    assert mark({"metadata": {"name": "x"}}) == (None, None)
    assert ownership({"metadata": {"name": "x"}}, ME, ()) is Ownership.NOBODYS


POOL = "connect-server"


@pytest.mark.parametrize(
    ("live", "winner"),
    [
        (None, OTHER),  # it is older
        (marked(None, None), OTHER),
        (marked("production", "uid-of-production"), ME),
        (marked("production", "uid-of-the-dead"), ME),
        (marked("staging", "uid-of-staging"), OTHER),
        (marked("staging", "uid-of-the-dead"), OTHER),
        (marked("gone", "uid-of-the-dead"), OTHER),
    ],
)
def test_a_pool_belongs_to_whom_its_mark_names_else_to_the_older(live: Json | None, winner: Peer) -> None:
    assert contested_pool(POOL, live, ME, [OTHER]) is (None if winner is ME else OTHER)
    assert contested_pool(POOL, live, OTHER, [ME]) is (None if winner is OTHER else ME)


def test_names_decide_between_profiles_of_one_age() -> None:
    first, second = peer("a"), peer("b")
    assert contested_pool(POOL, None, second, [first]) is first
    assert contested_pool(POOL, None, first, [second]) is None


def test_only_who_asks_for_a_pool_is_a_rival() -> None:
    elsewhere = peer("elsewhere", created=NOW - timedelta(days=99), spec={"serverPool": {"name": "s"}})
    assert contested_pool(POOL, marked("elsewhere", elsewhere.uid), ME, [elsewhere]) is None


def test_external_pools_claim_nothing() -> None:
    shared = {"serverPool": {"management": "External"}, "contentPool": {"management": "External"}}
    external = peer("shared", spec=shared, created=NOW - timedelta(days=99))
    assert not external.pools
    assert not external.placements
    assert contested_pool(POOL, None, ME, [external]) is None
    assert contested_placement(ME, [external], [marked("shared", external.uid)]) is None


def test_claims_of_a_profile() -> None:
    of = Peer.of(
        profile(
            {
                "placement": {"labelKey": "w", "server": "s", "content": "c"},
                "serverPool": {"management": "External"},
                "additionalContentPools": [{"name": "gpu"}],
            }
        )
    )
    assert of.pools == {"connect-content", "gpu"}
    assert of.placements == {("w", "c")}


@pytest.mark.parametrize(
    ("spec", "contested"),
    [
        ({}, True),
        ({"placement": {"server": "connect-server", "content": "x"}}, True),
        ({"placement": {"server": "connect-content", "content": "connect-server"}}, True),
        ({"placement": {"server": "a", "content": "b"}}, False),
        ({"placement": {"labelKey": "other"}}, False),
    ],
)
def test_placements_are_claimed_once(spec: Json, contested: bool) -> None:  # noqa: FBT001 - a column of the table
    pools = {"serverPool": {"name": "a"}, "contentPool": {"name": "b"}}
    older = peer("older", created=NOW - timedelta(days=99), spec={**pools, **spec})
    assert contested_placement(ME, [older], []) is (older if contested else None)
    assert contested_placement(older, [ME], []) is None
    # Whoever has a NodePool of his own already is in possession.
    assert contested_placement(ME, [older], [marked("production", ME.uid)]) is None
    assert contested_placement(ME, [older], [marked("production", "uid-of-the-dead")]) is None


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[Peer], Json | None]:
    """Return profiles that all ask for one pool, and that pool with whatever mark it carries."""
    names = draw(st.lists(st.sampled_from("abcd"), min_size=1, max_size=4, unique=True))
    peers = [peer(name, created=NOW - timedelta(days=draw(st.integers(1, 2)))) for name in names]
    mark_of = st.none() | st.sampled_from([*"abcde"])
    name, uid = draw(mark_of), draw(mark_of)
    return peers, draw(st.sampled_from([None, marked(name, f"uid-of-{uid}" if uid else None)]))


@given(worlds())
def test_exactly_one_profile_gets_a_pool_and_it_may_have_it(world: tuple[list[Peer], Json | None]) -> None:
    peers, live = world

    def others(me: Peer) -> list[Peer]:
        return [each for each in peers if each is not me]

    winners = [each for each in peers if contested_pool(POOL, live, each, others(each)) is None]
    assert len(winners) == 1
    assert all(contested_pool(POOL, live, each, others(each)) is winners[0] for each in others(winners[0]))
    placed = [each for each in peers if contested_placement(each, others(each), [live] if live else []) is None]
    assert placed == winners, "one profile gets both, or none of them could ever go on"
    if live:
        owners = [each for each in peers if ownership(live, each, others(each)) is Ownership.OURS]
        assert owners in ([], winners)
        assert ownership(live, winners[0], others(winners[0])) is not Ownership.OTHERS


GIT: tuple[tuple[Json, str | None], ...] = (
    ({}, None),
    ({"annotations": {"argocd.argoproj.io/tracking-id": "apps:karpenter.sh/NodePool:/x"}}, "Argo CD"),
    ({"labels": {"argocd.argoproj.io/instance": "apps"}}, "Argo CD"),
    (
        {
            "annotations": {
                "argocd.argoproj.io/tracking-id": "x",
                "argocd.argoproj.io/sync-options": "Validate=false, Prune=false",
            }
        },
        None,
    ),
    (
        {
            "annotations": {
                "argocd.argoproj.io/tracking-id": "x",
                "argocd.argoproj.io/sync-options": "Prune=confirm",
            }
        },
        "Argo CD",
    ),
    ({"labels": {"kustomize.toolkit.fluxcd.io/name": "apps"}}, "Flux"),
    (
        {
            "labels": {"kustomize.toolkit.fluxcd.io/name": "apps"},
            "annotations": {"kustomize.toolkit.fluxcd.io/prune": "Disabled"},
        },
        None,
    ),
    ({"labels": {"helm.toolkit.fluxcd.io/name": "apps"}}, "Flux"),
    ({"annotations": {"meta.helm.sh/release-name": "pools"}}, "Helm"),
    ({"annotations": {"meta.helm.sh/release-name": "pools", "helm.sh/resource-policy": "keep"}}, None),
    ({"annotations": {"meta.helm.sh/release-name": "pools", "helm.sh/resource-policy": "delete"}}, "Helm"),
)


@pytest.mark.parametrize(("metadata", "owner"), GIT)
def test_what_git_could_prune(metadata: Json, owner: str | None) -> None:
    found = pruned_by({"metadata": {"name": "x", **metadata}})
    assert (found[0] if found else None) == owner
    if found:
        key, _, value = found[1].partition(": ")
        annotations = {**metadata.get("annotations", {}), key: value}
        assert pruned_by({"metadata": {**metadata, "annotations": annotations}}) is None, "the advice helps"

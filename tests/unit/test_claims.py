"""NodeClaims: what is read from them, and which of them Karpenter will call Drifted."""

import copy
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connect_autoscaler.nodepools.claims import NodeClaim, outdated, satisfied
from unit.builders import NOW, claim, edited, live_pool, profile

Json = dict[str, Any]

OWNER = profile({"contentPool": {"labels": {"team": "a"}, "annotations": {"example.com/a": "1"}}})
POOL = live_pool(OWNER, "connect-content")


def test_facts() -> None:
    found = claim(POOL, "c", conditions=["Launched"], deleting=True)
    assert (found.name, found.uid, found.version, found.pool) == ("c", "uid-of-c", 3, "connect-content")
    assert (found.launched, found.registered, found.ready, found.drifted) == (True, False, False, False)
    assert found.deleting
    assert found.owned_by("uid-of-connect-content")
    assert not found.owned_by("another")
    assert found.created == NOW - timedelta(minutes=30)


def test_a_bare_object_is_read() -> None:
    meta = {"name": "c", "uid": "u", "resourceVersion": "1", "creationTimestamp": "2026-03-02T12:00:00Z"}
    found = NodeClaim.of({"metadata": meta})
    assert (found.pool, found.owners, found.deleting, found.launched, found.expires) == ("", (), False, False, None)
    assert not found.owned_by("u")


@pytest.mark.parametrize(
    ("after", "expires"),
    [
        ("Never", None),
        ("720h", NOW + timedelta(days=30)),
        ("1h30m", NOW + timedelta(minutes=90)),
        ("0s", NOW),
        ("999999999h", None),
        ("99999999999999999999h", None),
    ],
)
def test_expires(after: str, expires: datetime | None) -> None:
    assert claim(POOL, created=NOW, spec={"expireAfter": after}).expires == expires


def test_times_have_a_zone() -> None:
    assert claim(POOL).created.tzinfo == UTC


def bent(change: Json, field: str = "spec") -> Json:
    return edited(POOL, {"spec": {"template": {field: change}}})


TEMPLATES: tuple[tuple[str, Json, bool], ...] = (
    ("nothing", bent({}), False),
    ("label added", bent({"labels": {"new": "x"}}, "metadata"), True),
    ("label changed", bent({"labels": {"team": "b"}}, "metadata"), True),
    ("label removed", bent({"labels": {"team": None}}, "metadata"), True),
    ("annotation added", bent({"annotations": {"karpenter.sh/do-not-disrupt": "true"}}, "metadata"), True),
    ("annotation removed", bent({"annotations": None}, "metadata"), True),
    ("taint added", bent({"taints": [{"key": "x", "effect": "NoSchedule"}]}), True),
    ("startup taint added", bent({"startupTaints": [{"key": "x", "effect": "NoSchedule"}]}), True),
    ("expiry changed", bent({"expireAfter": "24h"}), True),
    ("expiry respelled", bent({"expireAfter": "43200m"}), False),
    ("expiry defaulted", bent({"expireAfter": None}), False),
    ("grace period set", bent({"terminationGracePeriod": "1h"}), True),
    ("NodeClass renamed", bent({"nodeClassRef": {"name": "other"}}), True),
    ("weight", edited(POOL, {"spec": {"weight": 9}}), False),
    ("disruption", edited(POOL, {"spec": {"disruption": {"consolidateAfter": "9h"}}}), False),
    ("limits", edited(POOL, {"spec": {"limits": {"cpu": 9}}}), False),
    ("requirements widened", bent({"requirements": []}), False),
    (
        "requirements narrowed and met",
        bent({"requirements": [{"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64"]}]}),
        False,
    ),
    (
        "requirements narrowed and not met",
        bent({"requirements": [{"key": "kubernetes.io/arch", "operator": "In", "values": ["arm64"]}]}),
        True,
    ),
    (
        "custom requirement that no node has",
        bent({"requirements": [{"key": "example.com/rack", "operator": "Exists"}]}),
        True,
    ),
)


@pytest.mark.parametrize(("what", "other", "expected"), TEMPLATES, ids=[case[0] for case in TEMPLATES])
def test_outdated(what: str, other: Json, expected: bool) -> None:  # noqa: FBT001 - a column of the table
    assert outdated(claim(POOL), other, POOL) is expected, f"{what}, and the profile asks for it"
    if "requirements" not in what and "custom" not in what:
        assert outdated(claim(other), POOL, other) is expected, f"{what} by somebody, and put back"
    assert not outdated(claim(POOL), POOL, other), f"{what} by somebody: nodes of before stay what they are"


def test_lists_have_no_order() -> None:
    taints = [{"key": key, "effect": "NoSchedule", "value": "x"} for key in "ab"]
    assert not outdated(claim(bent({"taints": taints})), bent({"taints": taints[::-1]}), POOL)


def test_a_claim_that_is_not_launched_lacks_the_labels_of_its_node() -> None:
    fresh = claim(POOL, conditions=[])
    assert "kubernetes.io/arch" not in fresh.labels
    assert not outdated(fresh, POOL, POOL)
    assert outdated(replace(fresh, launched=True), POOL, POOL)
    assert outdated(fresh, bent({"expireAfter": "24h"}), POOL), "it will be, when it is launched"


def test_a_grace_period_that_the_provider_gave_is_no_difference() -> None:
    # DefaultTerminationGracePeriod in pkg/controllers/provisioning/scheduling/nodeclaimtemplate.go.
    assert not outdated(claim(POOL, spec={"terminationGracePeriod": "24h"}), POOL, POOL)


def test_more_metadata_of_a_claim_is_no_difference() -> None:
    more = {"node.kubernetes.io/instance-type": "m7i.large", "karpenter.k8s.aws/ec2nodeclass": "default"}
    assert not outdated(claim(POOL, labels=more, annotations={"example.com/theirs": "x"}), POOL, POOL)


def test_metadata_of_a_live_template_that_a_claim_lacks_is_no_sign() -> None:
    live = bent({"labels": {"new": "x"}, "annotations": {"new": "x"}}, "metadata")
    assert not outdated(claim(POOL), POOL, live)
    assert outdated(claim(live), POOL, live)
    assert not outdated(claim(live), POOL), "known deviation: nothing tells what an older template had"


def test_without_a_live_pool() -> None:
    assert not outdated(claim(POOL), POOL)
    assert outdated(claim(POOL), bent({"expireAfter": "24h"}))


# Karpenter's rule, transcribed: pkg/scheduling/requirement.go and requirements.go of v1.14.1.
OLD_NAMES = {"beta.kubernetes.io/arch": "kubernetes.io/arch"}


@dataclass(frozen=True)
class Set:
    """`Requirement`: values, or all but these, within bounds."""

    complement: bool
    values: frozenset[str]
    low: int | None = None
    high: int | None = None

    @classmethod
    def of(cls, requirement: Json) -> "Set":
        values = frozenset(requirement.get("values", []))
        match requirement["operator"]:
            case "In":
                return cls(complement=False, values=values)
            case "NotIn":
                return cls(complement=True, values=values)
            case "Exists":
                return cls(complement=True, values=frozenset())
            case "DoesNotExist":
                return cls(complement=False, values=frozenset())
        bound = int(next(iter(values)))
        operator = requirement["operator"]
        low = {"Gt": bound + 1, "Gte": bound}.get(operator)
        high = {"Lt": bound - 1, "Lte": bound}.get(operator)
        return cls(complement=True, values=frozenset(), low=low, high=high)

    def within(self, value: str) -> bool:
        if self.low is None and self.high is None:
            return True
        if not value.isdigit():
            return False
        return (self.low is None or int(value) >= self.low) and (self.high is None or int(value) <= self.high)

    def joined(self, other: "Set") -> "Set":
        low = max((low for low in (self.low, other.low) if low is not None), default=None)
        high = min((high for high in (self.high, other.high) if high is not None), default=None)
        if low is not None and high is not None and low > high:
            return Set(complement=False, values=frozenset())
        both = self.complement and other.complement
        if both:
            values = self.values | other.values
        elif self.complement:
            values = other.values - self.values
        elif other.complement:
            values = self.values - other.values
        else:
            values = self.values & other.values
        bounds = Set(complement=both, values=values, low=low, high=high)
        kept = frozenset(value for value in values if bounds.within(value))
        return replace(bounds, values=kept) if both else Set(complement=False, values=kept)

    @property
    def lets_a_label_be_absent(self) -> bool:
        """Operator() is NotIn or DoesNotExist."""
        return bool(self.values) if self.complement else not self.values

    def allows(self, value: str) -> bool:
        return self.within(value) and (value in self.values) is not self.complement


def karpenter_compatible(requirements: list[Json], labels: dict[str, str]) -> bool:
    """`NewLabelRequirements(labels).Compatible(NewNodeSelectorRequirements(requirements))`."""
    own = {OLD_NAMES.get(key, key): value for key, value in labels.items()}
    joined: dict[str, Set] = {}
    for requirement in requirements:
        key = str(OLD_NAMES.get(requirement["key"], requirement["key"]))
        found = Set.of(requirement)
        joined[key] = found.joined(joined[key]) if key in joined else found
    return all(each.allows(own[key]) if key in own else each.lets_a_label_be_absent for key, each in joined.items())


KEYS = ["kubernetes.io/arch", "beta.kubernetes.io/arch", "example.com/a"]
VALUES = ["amd64", "arm64", "2", "4", "5", "07"]
REQUIREMENTS = st.one_of(
    st.builds(
        lambda key, operator, values: {"key": key, "operator": operator, "values": values},
        st.sampled_from(KEYS),
        st.sampled_from(["In", "NotIn"]),
        st.lists(st.sampled_from(VALUES), min_size=1, max_size=3, unique=True),
    ),
    st.builds(
        lambda key, operator: {"key": key, "operator": operator},
        st.sampled_from(KEYS),
        st.sampled_from(["Exists", "DoesNotExist"]),
    ),
    st.builds(
        lambda key, operator, bound: {"key": key, "operator": operator, "values": [bound]},
        st.sampled_from(KEYS),
        st.sampled_from(["Gt", "Lt", "Gte", "Lte"]),
        st.sampled_from(["0", "3", "4"]),
    ),
)
# A node with both names of a label and different values does not exist.
LABELS = st.builds(
    lambda *pairs: {key: value for key, value in pairs if value},
    st.tuples(st.sampled_from(KEYS[:2]), st.sampled_from(["", *VALUES])),
    st.tuples(st.just(KEYS[2]), st.sampled_from(["", *VALUES])),
)


@given(REQUIREMENTS, LABELS)
def test_one_requirement_as_karpenter_decides(requirement: Json, labels: dict[str, str]) -> None:
    assert satisfied(requirement, labels) is karpenter_compatible([requirement], labels)


@given(st.lists(REQUIREMENTS, max_size=4), LABELS)
def test_several_requirements_as_karpenter_decides_for_labels_that_are_there(
    requirements: list[Json], labels: dict[str, str]
) -> None:
    own = {OLD_NAMES.get(key, key) for key in labels}
    known = [r for r in requirements if OLD_NAMES.get(r["key"], r["key"]) in own]
    assert all(satisfied(r, labels) for r in known) is karpenter_compatible(known, labels)
    # For the rest ours is never the more lenient one.
    if all(satisfied(r, labels) for r in requirements):
        assert karpenter_compatible(requirements, labels)


@pytest.mark.parametrize(
    ("operator", "below", "at", "above"),
    [
        ("Gt", False, False, True),
        ("Gte", False, True, True),
        ("Lt", True, False, False),
        ("Lte", True, True, False),
        ("In", False, True, False),
        ("NotIn", True, False, True),
        ("Exists", True, True, True),
        ("DoesNotExist", False, False, False),
    ],
)
def test_operators(operator: str, below: bool, at: bool, above: bool) -> None:  # noqa: FBT001 - columns
    requirement = {"key": "a", "operator": operator, **({"values": ["4"]} if "xist" not in operator else {})}
    assert [satisfied(requirement, {"a": value}) for value in ("3", "4", "5")] == [below, at, above]
    assert [karpenter_compatible([requirement], {"a": value}) for value in ("3", "4", "5")] == [below, at, above]


def test_the_one_deviation_from_karpenter() -> None:
    exists, not_in = {"key": "a", "operator": "Exists"}, {"key": "a", "operator": "NotIn", "values": ["x"]}
    assert karpenter_compatible([exists, not_in], {})
    assert not all(satisfied(r, {}) for r in (exists, not_in))


@pytest.mark.parametrize("value", ["-5", "5.5", "x5", "", "5x"])
def test_only_integers_are_within_bounds(value: str) -> None:
    assert not satisfied({"key": "a", "operator": "Gte", "values": ["0"]}, {"a": value})


def test_nothing_is_changed() -> None:
    before = copy.deepcopy(POOL)
    outdated(claim(POOL), POOL, POOL)
    assert before == POOL

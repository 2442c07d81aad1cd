"""The models against the CRD on a real API server: they accept, refuse and fill in the same."""

import os
from collections import Counter
from datetime import UTC, datetime
from typing import Any

from hypothesis import HealthCheck, given, settings
from pydantic import ValidationError

from connect_autoscaler.api import status as api
from connect_autoscaler.api.spec import Management, Operator, ProfileSpec, Role
from crd_schema import fields, root
from integration.profiles import Profiles
from integration.spec_strategies import specs
from profile_specs import FULL, SMALLEST, Spec

# Always the same examples, unless somebody asks for more: FUZZ_EXAMPLES=5000 makes that many new ones.
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "150"))
SEEN: Counter[bool] = Counter()


def by_model(spec: Spec) -> ProfileSpec | None:
    try:
        return ProfileSpec.model_validate(spec)
    except ValidationError:
        return None


def dumped(model: ProfileSpec) -> Any:
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


def without_empty(value: Any, path: str = "") -> Any:
    """Return the spec without empty lists, maps and objects, except the one list where empty is not absent."""
    if isinstance(value, list):
        return [without_empty(entry, path) for entry in value]
    if not isinstance(value, dict):
        return value
    below = {name: without_empty(entry, f"{path}.{name}") for name, entry in value.items()}
    return {
        name: entry
        for name, entry in below.items()
        if entry not in ([], {}) or f"{path}.{name}" == ".content.topologySpread"
    }


@settings(
    max_examples=EXAMPLES,
    derandomize="FUZZ_EXAMPLES" not in os.environ,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
@given(spec=specs())
def check_spec(profiles: Profiles, spec: Spec) -> None:
    verdict, model = profiles.create(spec), by_model(spec)
    assert verdict.accepted == (model is not None), verdict.complaints
    SEEN[verdict.accepted] += 1
    if model:
        assert without_empty(dumped(model)) == without_empty(verdict.spec)
        assert ProfileSpec.model_validate(verdict.spec) == model
        assert ProfileSpec.model_validate(dumped(model)) == model


def test_model_is_the_crd(profiles: Profiles) -> None:
    check_spec(profiles)
    assert min(SEEN[True], SEEN[False]) >= EXAMPLES / 5, SEEN


def test_smallest_spec_is_filled_in_alike(profiles: Profiles) -> None:
    assert without_empty(dumped(ProfileSpec.model_validate(SMALLEST))) == profiles.create(SMALLEST).spec


def test_full_spec_survives_the_model(profiles: Profiles) -> None:
    assert dumped(ProfileSpec.model_validate(FULL)) == profiles.create(FULL).spec


NOW = datetime(2026, 8, 1, 12, 30, 15, 987_654, tzinfo=UTC)
LONG = "ü" * 5000


def full_status() -> api.ProfileStatus:
    """Return a status with every field, as long as it can be and longer."""
    text, digest = api.json_text({"key": LONG}), f"sha256:{'a' * 64}"
    return api.ProfileStatus(
        observed_generation=7,
        conditions=(
            api.Condition(
                type="Ready",
                status=api.ConditionStatus.TRUE,
                reason="InSync",
                message=LONG,
                observed_generation=7,
                last_transition_time=NOW,
            ),
        ),
        mode=api.EffectivePolicies(node_pools="Correct", release="Warn"),
        last_check_time=NOW,
        last_handled_reconcile_at=LONG,
        server="2/2",
        content="3/4",
        node_pools=tuple(
            api.NodePoolStatus(
                name=f"pool-{number}",
                role=Role.SERVER,
                management=Management.MANAGED,
                generation=3,
                ready=api.ConditionStatus.UNKNOWN,
                reason="NodeClassNotFound",
                message=LONG,
                nodes=2,
                empty_nodes=0,
                outdated_nodes=0,
                drifted_node_claims=1,
                expiring_node_claims=1,
                lost_node_claims=0,
                next_expiry=NOW,
                owned=True,
                spec_hash=digest,
                requirements=tuple(
                    api.RenderedRequirement(key="a", operator=Operator.IN, values=("b",) * 300, min_values=1)
                    for _ in range(100)
                ),
            )
            for number in range(10)
        ),
        release=api.ReleaseStatus(
            namespace="posit",
            name="connect",
            manager="Helm",
            revision=21,
            chart="rstudio-connect-0.21.0",
            apply_method="ssa",
            overlay_digest=digest,
            server_restart_pending=False,
        ),
        attempt=api.Attempt(id="1", phase="Upgrading", started_at=NOW),
        plan=(
            api.PlannedAction(
                action="Apply",
                target="NodePool/connect-server",
                fields=("/spec/limits",) * 100,
                disruption=api.Disruption.REPLACES_NODES,
                node_claims=2,
                reason="OutsideWindow",
                message=LONG,
            ),
        )
        * 100,
        plan_digest=digest,
        drift=api.DriftStatus(
            total=100,
            items=(
                api.DriftItem(
                    target="NodePool/connect-server",
                    path=f"/{LONG}",
                    expected=text,
                    actual=f'"{LONG}"',
                    manager="kubectl-edit",
                    changed_at=NOW,
                    first_seen=NOW,
                    last_seen=NOW,
                    action=api.DriftAction.DEFERRED,
                    reason="OutsideWindow",
                    node_claims=2,
                ),
            )
            * 100,
        ),
        heals=api.Heals(total=5, last_time=NOW),
        checks=tuple(
            api.Check(
                name=f"Check{number}", result=api.CheckResult.PASSED, message=LONG, observed=text, last_changed=NOW
            )
            for number in range(100)
        ),
        limitations=tuple(api.Limitation(name=f"Limit{number}", count=1, message=LONG) for number in range(100)),
        foreign_pods=(api.ForeignPod(namespace="a", name="b", node="c", pool="d"),) * 100,
        orphans=api.Orphans(
            total=100,
            items=(
                api.OrphanedJob(
                    content_guid="a",
                    job_key="b",
                    tag="build_report",
                    variant_key="1",
                    hostname="c",
                    last_heartbeat=NOW,
                    action="Reported",
                    reason="TooYoung",
                ),
            )
            * 100,
        ),
    )


def test_status_is_accepted_however_long_and_comes_back_the_same(profiles: Profiles) -> None:
    status = full_status()
    stored = profiles.report(status.dump())
    assert stored == status.dump()
    assert api.ProfileStatus.model_validate(stored) == status


def test_full_status_has_every_field() -> None:
    def present(value: Any, path: str) -> set[str]:
        if isinstance(value, dict):
            return {path}.union(*(present(below, f"{path}.{name}") for name, below in value.items()))
        return {path}.union(*(present(below, f"{path}[]") for below in value)) if isinstance(value, list) else {path}

    assert present(full_status().dump(), "status") == {field.path for field in fields(root()) if field.in_status}


def test_columns_show_the_truth_in_one_line(profiles: Profiles) -> None:
    columns = profiles.columns(full_status().dump())
    assert list(columns) == ["Name", "Ready", "Drifted", "Server", "Content", "Release", "Age", "Mode", "Status"]
    assert {name: columns[name] for name in ("Ready", "Server", "Content", "Release", "Mode")} == {
        "Ready": "True",
        "Server": "2/2",
        "Content": "3/4",
        "Release": 21,
        "Mode": "Enforce",
    }
    assert columns["Status"] == api.clip(LONG, 2048)


def test_empty_status_is_accepted(profiles: Profiles) -> None:
    assert profiles.report(api.ProfileStatus().dump()) == api.ProfileStatus().dump()

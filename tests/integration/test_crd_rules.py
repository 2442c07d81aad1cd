"""Every CEL rule and every pattern of the CRD, on a real API server: what it lets through, refuses, and says.

The models are held to the same cases.
"""

import re
from typing import Any

import pytest
from pydantic import ValidationError

from connect_autoscaler.api.spec import ProfileSpec
from crd_schema import POOLS, fields, root, rules
from integration.crd_case import Case
from integration.crd_pattern_cases import PATTERNS
from integration.crd_spec_cases import CASES
from integration.profiles import Profiles, Verdict
from profile_specs import FULL, SMALLEST, Spec, merged, with_value

TAINT: Spec = {"key": "example.com/x", "effect": "NoSchedule"}
SPREAD: Spec = {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
NAME_RULE = ("", "metadata.name must be at most 63 characters: it is the value of a label")


def complaints(spec: Spec) -> list[str]:
    """Return what the model says to a spec."""
    try:
        ProfileSpec.model_validate(spec)
    except ValidationError as error:
        return [each["msg"].removeprefix("Value error, ") for each in error.errors()]
    return []


def judge(profiles: Profiles, case: Case, patch: Spec) -> Verdict:
    wanted = merged(SMALLEST, patch)
    return profiles.create(wanted) if case.before is None else profiles.update(merged(SMALLEST, case.before), wanted)


def test_every_rule_has_cases() -> None:
    written = [(rule.path, rule.message) for rule in rules()]
    assert len(written) == len(set(written))
    assert {(case.path, case.message) for case in CASES} | {NAME_RULE} == set(written)
    assert all(case.accept and case.reject for case in CASES)


def test_rules_about_updates_have_cases_with_a_past() -> None:
    transitions = {(rule.path, rule.message) for rule in rules() if rule.is_transition}
    assert {(case.path, case.message) for case in CASES if case.before is not None} == transitions


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.path}: {case.message[:40]}")
def test_rule(case: Case, profiles: Profiles) -> None:
    for patch in case.accept:
        assert judge(profiles, case, patch).complaints == (), patch
    for patch in case.reject:
        (complaint,) = judge(profiles, case, patch).complaints
        field, _, message = complaint.partition(": ")
        assert re.sub(r"\[\d+\]", "[]", field) == case.path, patch
        assert message.endswith(case.message), patch


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.path}: {case.message[:40]}")
def test_rule_of_the_model(case: Case) -> None:
    for patch in case.accept:
        assert complaints(merged(SMALLEST, patch)) == [], patch
    for patch in case.reject:
        # The models know no past: what the change leads to is fine by itself.
        expected = [case.message.removeprefix("expireAfter ")] if case.before is None else []
        assert complaints(merged(SMALLEST, patch)) == expected, patch


def test_name_fits_a_label(profiles: Profiles) -> None:
    assert profiles.create(SMALLEST, "n" * 63).accepted
    (complaint,) = profiles.create(SMALLEST, "n" * 64).complaints
    assert complaint.endswith(NAME_RULE[1])


def test_every_pattern_of_the_spec_has_cases() -> None:
    written = {field.path for field in fields(root()) if "pattern" in field.schema and not field.in_status}
    # Refused on the server pool whatever it is: a rule's business.
    assert written - {"spec.serverPool.terminationGracePeriod"} == set(PATTERNS)


@pytest.mark.parametrize("path", PATTERNS)
def test_pattern(path: str, profiles: Profiles) -> None:
    base, good, bad = PATTERNS[path]
    for value in good:
        spec = with_value(base, path.removeprefix("spec."), value)
        assert profiles.create(spec).complaints == (), value
        assert complaints(spec) == [], value
    for value in bad:
        spec = with_value(base, path.removeprefix("spec."), value)
        assert re.search("should (match|be at least 1 char)", " ".join(profiles.create(spec).complaints)), value
        assert complaints(spec), value


def test_full_spec_has_every_field() -> None:
    def present(value: object, path: str) -> set[str]:
        if isinstance(value, dict):
            return {path}.union(*(present(below, f"{path}.{name}") for name, below in value.items()))
        return {path}.union(*(present(below, f"{path}[]") for below in value)) if isinstance(value, list) else {path}

    known = {f.path for f in fields(root()) if f.path.startswith("spec") and "{}" not in f.path}
    found = {path for path in present(FULL, "spec") if not re.search(r"(labels|annotations|limits)\.", path)}
    assert known - found == {
        "spec.release.chart.oci",
        "spec.release.chart.path",
        "spec.serverPool.terminationGracePeriod",
    }
    assert found <= known


def test_full_spec_is_accepted_as_it_is(profiles: Profiles) -> None:
    assert profiles.create(FULL).complaints == ()
    assert profiles.create(FULL).spec == FULL


@pytest.mark.parametrize(
    ("path", "duplicates"),
    [
        *(
            (f"{pool}.{name}", [TAINT, {**TAINT, "value": "a"}])
            for pool in POOLS
            for name in ("taints", "startupTaints")
        ),
        *((f"{pool}.disruption.budgets[].reasons", ["Empty", "Empty"]) for pool in POOLS),
        ("additionalContentPools", [{"name": "gpu"}, {"name": "gpu", "weight": 1}]),
        ("server.topologySpread", [SPREAD, {**SPREAD, "maxSkew": 2}]),
        ("content.topologySpread", [SPREAD, {**SPREAD, "maxSkew": 2}]),
        ("driftPolicy.ignore[].paths", ["/a", "/a"]),
        ("driftPolicy.ignore[].managers", ["a", "a"]),
    ],
)
def test_duplicates_are_refused(path: str, duplicates: list[Any], profiles: Profiles) -> None:
    assert profiles.create(with_value(FULL, path, duplicates[:1])).accepted
    assert complaints(with_value(FULL, path, duplicates[:1])) == []
    (complaint,) = profiles.create(with_value(FULL, path, duplicates)).complaints
    assert "Duplicate value" in complaint
    (complaint,) = complaints(with_value(FULL, path, duplicates))
    assert re.fullmatch("must not contain the same .* twice", complaint)


def test_required_fields_are_demanded(profiles: Profiles) -> None:
    demanded = [f.path.removeprefix("spec.") for f in fields(root()) if f.required and f.path.startswith("spec.")]
    assert len(demanded) >= 30
    for path in demanded:
        # The API server takes null for an absent field.
        spec = with_value(FULL, path, None)
        assert any("Required value" in complaint for complaint in profiles.create(spec).complaints), path
        assert "Field required" in complaints(spec), path


def test_unknown_fields_are_refused(profiles: Profiles) -> None:
    (complaint,) = profiles.create({**SMALLEST, "dryRun": True}).complaints
    assert 'unknown field "spec.dryRun"' in complaint

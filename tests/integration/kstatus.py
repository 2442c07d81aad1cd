"""How tools read the status of a profile: the rules of kstatus, which Flux, Helm and cli-utils wait by."""

from typing import Literal

from harness import Json

Kstatus = Literal["Terminating", "InProgress", "Failed", "Current"]
ABNORMAL = frozenset({"Reconciling", "Stalled", "Suspended", "Fighting"})
"""Conditions that are absent unless they are True."""


def conditions(profile: Json) -> dict[str, Json]:
    """Return the conditions by type."""
    return {each["type"]: each for each in profile.get("status", {}).get("conditions", ())}


def kstatus(profile: Json) -> Kstatus:
    """Judge a profile as kstatus does."""
    found = conditions(profile)

    def true(kind: str) -> bool:
        return kind in found and found[kind]["status"] == "True"

    if "deletionTimestamp" in profile["metadata"]:
        return "Terminating"
    if profile.get("status", {}).get("observedGeneration") != profile["metadata"]["generation"] or true("Reconciling"):
        return "InProgress"
    if true("Stalled"):
        return "Failed"
    return "Current" if true("Ready") else "InProgress"


def assert_regular(profile: Json) -> None:
    """Check what holds for every status, at any moment."""
    found, status = conditions(profile), profile["status"]
    assert status["observedGeneration"] <= profile["metadata"]["generation"]
    for kind, condition in found.items():
        assert condition["observedGeneration"] == status["observedGeneration"], condition
        assert condition["reason"], condition
        assert condition["message"] or condition["status"] == "True", condition
        assert kind not in ABNORMAL or condition["status"] == "True", condition
    assert not found.keys() >= {"Reconciling", "Stalled"}, found
    if found["Ready"]["status"] == "True":
        assert not found.keys() & {"Reconciling", "Stalled"}, found
    assert found["Ready"]["status"] != "True" or found["NodePoolsReady"]["status"] == "True"

"""The overlay for releases that others write: what is published, where, and what stands in its way."""

import copy
import json

import pytest
import yaml
from hypothesis import given

from connect_autoscaler.api.spec import ReleaseManager
from connect_autoscaler.release.export import advice, config_map, exported, name_of, overridden, refers, shadows
from connect_autoscaler.release.lists import LISTS, elements
from connect_autoscaler.release.merge import differences, merge
from connect_autoscaler.release.owners import Owner
from connect_autoscaler.release.values import Path, drop, effective, get
from unit.release_builders import OVERLAY
from unit.values_strategies import Json, documents, overlays

FLUX = Owner(ReleaseManager.FLUX, "flux-system", "rsc")
ARGO = Owner(ReleaseManager.ARGO_CD, "argocd", "rsc")
NOBODY = Owner(ReleaseManager.EXPORT)
THEIRS = {"key": "example.com/theirs", "operator": "Exists", "effect": "NoSchedule"}


def leaves(document: Json, path: Path = ()) -> set[Path]:
    found: set[Path] = set()
    for key, value in document.items():
        below = (*path, key)
        found |= leaves(value, below) if isinstance(value, dict) and below not in LISTS else {below}
    return found


@given(documents(), overlays())
def test_it_has_the_paths_of_the_overlay_and_no_other(config: Json, wanted: Json) -> None:
    made = merge(config, {}, {}, wanted, {})
    before = copy.deepcopy((made.values, wanted))
    part = exported(made.values, wanted)
    assert leaves(part) == leaves(wanted), "no value beside the overlay leaves the release"
    assert before == (made.values, wanted)


@given(documents(), overlays())
def test_laid_over_the_users_values_it_is_the_merge(config: Json, wanted: Json) -> None:
    made = merge(config, {}, {}, wanted, {})
    if made.malformed or made.refused or made.kept:
        return
    after = effective(config, exported(made.values, wanted))
    assert merge(after, {}, {}, wanted, {}).changes == ()
    for path in LISTS:
        have = elements(get(effective({}, made.values), path))
        if get(wanted, path) is not None:
            assert elements(get(after, path)) == have, "lists are complete: later values replace them whole"


def test_lists_hold_the_users_elements_too() -> None:
    made = merge({"tolerations": [THEIRS]}, {}, {}, OVERLAY, {})
    assert exported(made.values, OVERLAY)["tolerations"] == [THEIRS, *OVERLAY["tolerations"]]


def test_secrets_beside_the_overlay_stay_where_they_are() -> None:
    config = {"license": {"key": "SECRET"}, "config": {"Postgres": {"Password": "SECRET"}}, "pod": {"env": ["SECRET"]}}
    made = merge(config, {}, {}, OVERLAY, {})
    assert "SECRET" in json.dumps(made.values)
    body = config_map("production", "posit", FLUX, exported(made.values, OVERLAY))
    assert "SECRET" not in json.dumps(body)


@pytest.mark.parametrize(("whose", "namespace"), [(FLUX, "flux-system"), (ARGO, "posit"), (NOBODY, "posit")])
def test_config_map(whose: Owner, namespace: str) -> None:
    body = config_map("production", "posit", whose, {"b": "1e3", "a": {"y": "yes", "n": 1000000}})
    meta = body["metadata"]
    assert (meta["name"], meta["namespace"]) == ("production-values", namespace)
    assert meta["labels"]["connect-autoscaler.io/profile"] == "production"
    assert ("reconcile.fluxcd.io/watch" in meta["labels"]) is (whose is FLUX), "Flux looks at once"
    text = body["data"]["values.yaml"]
    assert yaml.safe_load(text) == json.loads(text) == {"b": "1e3", "a": {"y": "yes", "n": 1000000}}
    assert (
        text
        == config_map("production", "posit", whose, {"a": {"n": 1000000, "y": "yes"}, "b": "1e3"})["data"][
            "values.yaml"
        ]
    ), "the same values have the same text"


@pytest.mark.parametrize(
    ("whose", "words"),
    [
        (FLUX, ("HelmRelease flux-system/rsc", "spec.valuesFrom", "name: production-values", "optional: true")),
        (ARGO, ("Application rsc", "ConfigMap posit/production-values")),
        (Owner(ReleaseManager.ARGO_CD), ("the Application", "posit/production-values")),
        (NOBODY, ("kubectl get configmap -n posit production-values", "helm upgrade")),
    ],
)
def test_advice_names_every_object(whose: Owner, words: tuple[str, ...]) -> None:
    text = advice("production", "posit", whose)
    assert all(each in text for each in words)
    assert "\n" not in text


def test_the_entry_that_is_advised_is_the_one_that_is_looked_for() -> None:
    text = advice("production", "posit", FLUX)
    entry = yaml.safe_load(text[text.index("{") :])
    assert refers({"spec": {"valuesFrom": [{"kind": "Secret", "name": "x"}, entry]}}, "production")
    assert not refers({"spec": {"valuesFrom": [{**entry, "kind": "Secret"}]}}, "production")
    assert not refers({"spec": {"valuesFrom": [{**entry, "name": name_of("other")}]}}, "production")
    assert not refers({"spec": {"valuesFrom": None}}, "production")
    assert not refers({}, "production")


def inline(values: Json | None) -> Json:
    return {"spec": {"values": values}}


def test_inline_values_shadow_what_they_set_otherwise() -> None:
    assert shadows(inline(None), OVERLAY) == shadows({}, OVERLAY) == shadows(inline({"replicas": 2}), OVERLAY) == []
    assert shadows(inline({"nodeSelector": {"workload": "other"}}), OVERLAY) == ["/nodeSelector/workload"]
    assert shadows(inline({"nodeSelector": {"disk": "ssd"}}), OVERLAY) == [], "maps are merged"
    assert shadows(inline({"tolerations": [THEIRS]}), OVERLAY) == ["/tolerations"], "lists are replaced"
    assert shadows(inline({"pod": {"annotations": {"karpenter.sh/do-not-disrupt": None}}}), OVERLAY) == [
        "/pod/annotations/karpenter.sh~1do-not-disrupt"
    ]


@pytest.mark.parametrize(
    "values",
    [
        {"tolerations": [THEIRS, *OVERLAY["tolerations"]]},
        {"tolerations": [{"operator": "Exists"}]},
        {"nodeSelector": {"workload": "connect-server"}},
        {"backends": {"kubernetes": {"enabled": "true"}}},
        {"config": {"Kubernetes": {"RenderedContentAnnotation": "karpenter.sh/do-not-disrupt=true"}}},
    ],
)
def test_inline_values_that_serve_the_overlay_do_not(values: Json) -> None:
    assert shadows(inline(values), OVERLAY) == [], "the user has merged them, as he was asked to"


OURS: Json = {"kind": "ConfigMap", "name": "production-values"}
THEIR_SECRET: Json = {"kind": "Secret", "name": "x"}


@pytest.mark.parametrize(
    ("sources", "found"),
    [
        ([THEIR_SECRET, OURS], []),
        ([OURS, THEIR_SECRET], ["/nodeSelector/workload", "/tolerations[key=workload]"]),
        ([OURS, {**THEIR_SECRET, "targetPath": "nodeSelector.workload"}], ["/nodeSelector/workload"]),
        ([{**THEIR_SECRET, "targetPath": "nodeSelector"}, OURS], ["/nodeSelector/workload"]),
        ([OURS, {**THEIR_SECRET, "targetPath": "tolerations[0].key"}], ["/tolerations[key=workload]"]),
        ([OURS, {**THEIR_SECRET, "targetPath": "nodeSelector.work\\.load"}], []),
        ([OURS, {**THEIR_SECRET, "targetPath": "config.Postgres.Password"}], []),
        ([THEIR_SECRET], []),
    ],
)
def test_other_sources_of_flux_that_may_win(sources: list[Json], found: list[str]) -> None:
    lacking = ["/nodeSelector/workload", "/tolerations[key=workload]"]
    assert overridden({"spec": {"valuesFrom": sources}}, "production", lacking) == found
    assert overridden({"spec": {"valuesFrom": sources}}, "production", []) == [], "what takes effect is not overridden"


@given(documents(), overlays())
def test_no_shadow_no_difference(values: Json, wanted: Json) -> None:
    """What nothing shadows takes effect when the published values come under the inline ones."""
    if any(
        not isinstance(get(values, path[:depth]) or {}, dict)
        for path in leaves(wanted)
        for depth in range(1, len(path))
    ):
        return
    if any(
        get(
            values,
            path[:1],
        )
        is None
        and path[0] in values
        for path in leaves(wanted)
    ):
        return
    under = exported(merge({}, {}, {}, wanted, {}).values, wanted)
    free = copy.deepcopy(values)
    for pointer in shadows(inline(values), wanted):
        path = tuple(part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:])
        drop(free, path)
    assert not shadows(inline(free), wanted)
    left = [each for each in differences(effective(under, free), wanted) if get(free, _path(each.pointer)) is not None]
    assert left == []


def _path(pointer: str) -> Path:
    whole = pointer.partition("[")[0]
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in whole.split("/")[1:])

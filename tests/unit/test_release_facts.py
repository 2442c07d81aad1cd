"""What a pass knows of a decoded release."""

import copy
from typing import Any

import pytest
import yaml

from connect_autoscaler.api.conditions import Reason
from connect_autoscaler.release.facts import Facts, assess, claims, guards, observe, server_of
from connect_autoscaler.release.manifest import ObjectKey, Server, objects
from connect_autoscaler.release.merge import Merged, merge
from connect_autoscaler.release.state import State
from unit.builders import Json, profile
from unit.release_builders import BASE, CONTENT_POOL, DEFAULTS, OVERLAY, SELECTOR, SERVER_POOL, revision
from unit.release_views import RELEASE

TOLERATION = "/tolerations[key=workload,effect=NoSchedule]"
ANNOTATION = "/pod/annotations/karpenter.sh~1do-not-disrupt"
SECRET = "hunter2-hunter2"  # noqa: S105 - looked for where it must not be
KEY, CONFIG_KEY = ObjectKey("Deployment", "posit", "connect"), ObjectKey("ConfigMap", "posit", "connect-config")


def rendered(values: Json | None = None, **template: Any) -> str:
    """The manifest of a chart that shows what the values say."""
    values = values or {}
    job = values.get("backends", {}).get("kubernetes", {}).get("defaultResourceJobBase", {})
    lines = values.get("config", {}).get("Kubernetes", {}).get("RenderedContentAnnotation", [])
    gcfg = "\n".join(
        ["[Kubernetes]", "Enabled = true", "Namespace = content", *(f"RenderedContentAnnotation = {x}" for x in lines)]
    )
    pod: Json = {
        "metadata": {"labels": SELECTOR, "annotations": values.get("pod", {}).get("annotations", {})},
        "spec": {
            "containers": [
                {"name": "connect", "volumeMounts": [{"name": "config", "subPath": "rstudio-connect.gcfg"}]}
            ],
            "volumes": [{"name": "config", "configMap": {"name": "connect-config"}}],
            **{key: values[key] for key in ("tolerations", "nodeSelector") if key in values},
            **template,
        },
    }
    deployment = {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "connect"},
        "spec": {"selector": {"matchLabels": SELECTOR}, "template": pod},
    }  # fmt: skip
    data = {"rstudio-connect.gcfg": gcfg, "job.yaml": yaml.safe_dump(job)}
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "connect-config"}, "data": data}
    return yaml.safe_dump_all([deployment, config])


def assessed(
    config: Json | None = None,
    *,
    state: State | None = None,
    wanted: bool = True,
    spec: Json | None = None,
    modes: Json | None = None,
    **fields: Any,
) -> tuple[Facts, Merged]:
    found = revision({**BASE, **(config or {})}, **{"manifest": rendered(config), **fields})
    return assess(
        profile({**RELEASE, **(spec or {})}), found, "posit", state, server_pools=[SERVER_POOL],
        content_pools=[CONTENT_POOL], access_modes=modes or {}, wanted=wanted,
    )  # fmt: skip


def full() -> Json:
    """Values that carry the overlay."""
    return merge({}, DEFAULTS, {}, OVERLAY, {}).values


def pointers(changes: Any) -> list[str]:
    return [change.pointer for change in changes]


def test_a_release_that_knows_nothing_of_the_overlay() -> None:
    facts, merged = assessed({"license": {"key": SECRET}}, number=7)
    assert (facts.revision, facts.chart, facts.apply_method, facts.problem) == (
        7,
        "rstudio-connect-0.21.0",
        "ssa",
        None,
    )
    assert facts.server == Server(KEY, CONFIG_KEY)
    assert facts.selector == SELECTOR
    assert facts.content_namespace == "content"
    assert facts.wanted == facts.expected == OVERLAY
    assert {TOLERATION, ANNOTATION, "/nodeSelector/workload"} <= set(pointers(facts.changes))
    assert "/backends/kubernetes/enabled" not in pointers(facts.changes), "the chart's default serves"
    assert facts.ineffective == (), "what is not in the values cannot show"
    assert facts.config == "", "without a salt there is no digest"
    assert SECRET not in repr(facts)
    assert merged.values["license"] == {"key": SECRET}


def test_a_release_that_carries_it() -> None:
    facts, _ = assessed(full(), state=State("salt"))
    assert facts.changes == facts.ineffective == facts.kept == ()
    assert facts.config == State("salt").digest({**BASE, **full()})


def test_values_that_objects_do_not_show() -> None:
    bare = rendered({key: value for key, value in full().items() if key != "tolerations"})
    facts, _ = assessed(full(), manifest=bare)
    assert facts.changes == ()
    assert pointers(facts.ineffective) == [TOLERATION]
    neither, _ = assessed({}, manifest=rendered())
    assert neither.ineffective == ()


def test_a_manifest_without_connect() -> None:
    facts, _ = assessed(full(), manifest="")
    assert (facts.server, facts.selector, facts.content_namespace, facts.ineffective) == (None, {}, "posit", ())
    assert facts.missing({}) == ()


def test_refusals_are_for_what_is_wanted_only() -> None:
    launcher = {"launcher": {"enabled": True}}
    facts, _ = assessed(launcher)
    assert facts.problem is not None
    assert facts.problem.reason is Reason.LAUNCHER_ENABLED
    back, _ = assessed(launcher, wanted=False)
    assert back.problem is None, "a release that changed since must not keep its profile"


def test_giving_back() -> None:
    first, merged = assessed({"nodeSelector": {"disk": "ssd"}})
    state = State("salt").found(first.wanted, merged.prior)
    back, returned = assessed(merged.values, state=state, wanted=False)
    assert back.wanted == {}
    assert {TOLERATION, "/nodeSelector/workload"} <= set(pointers(back.changes))
    assert returned.values == {**BASE, "nodeSelector": {"disk": "ssd"}}
    done, _ = assessed(returned.values, state=state, wanted=False)
    assert done.changes == ()


def test_what_is_ignored_is_neither_wanted_nor_taken_back_while_the_profile_lives() -> None:
    first, merged = assessed()
    state = State("salt").found(first.wanted, merged.prior)
    spec = {"driftPolicy": {"ignore": [{"paths": ["/tolerations", "/pod"]}]}}
    facts, kept = assessed(merged.values, state=state, spec=spec)
    assert not {"tolerations", "pod"} & facts.wanted.keys()
    assert facts.changes == ()
    assert kept.values["tolerations"] == merged.values["tolerations"]
    _, returned = assessed(merged.values, state=state, spec=spec, wanted=False)
    assert returned.values == BASE, "the end of the profile takes back what it brought"


def test_a_wider_toleration_of_the_user_serves_and_is_expected_instead_of_ours() -> None:
    wide = {"operator": "Exists"}
    values = {**full(), "tolerations": [wide]}
    facts, _ = assessed(values)
    assert facts.changes == facts.ineffective == ()
    assert facts.expected["tolerations"] == [wide]


def test_missing_in_live_objects() -> None:
    facts, _ = assessed(full())
    live = objects(rendered(full()), "posit")
    assert facts.missing(live) == ()
    bent = copy.deepcopy(live)
    del bent[KEY]["spec"]["template"]["spec"]["nodeSelector"]
    assert pointers(facts.missing(bent)) == ["/nodeSelector/workload"]
    assert ANNOTATION in pointers(facts.missing({}))
    lacking, _ = assessed({key: value for key, value in full().items() if key != "nodeSelector"})
    assert pointers(lacking.missing(bent)) == [], "what the values lack is said of them"


def test_missing_in_a_pod() -> None:
    facts, _ = assessed(full())
    template = objects(rendered(full()), "posit")[KEY]["spec"]["template"]
    assert facts.missing_in_pod(template) == (), "a pod shows nothing of the ConfigMap"
    stale = {**template, "metadata": {}}
    assert pointers(facts.missing_in_pod(stale)) == [ANNOTATION]
    assert len(facts.missing_in_pod({})) == 3


def test_a_release_without_secrets_is_judged_by_its_objects() -> None:
    found = objects(rendered(), "posit")
    pools: Json = {"server_pools": [SERVER_POOL], "content_pools": [CONTENT_POOL]}
    owner = profile(RELEASE)
    facts = observe(owner, found, Server(KEY, CONFIG_KEY), **pools)
    assert (facts.revision, facts.chart, facts.problem, facts.ineffective) == (0, "", None, ())
    assert {TOLERATION, ANNOTATION} <= set(pointers(facts.changes))
    assert facts.content_namespace == "content"
    carried = observe(owner, objects(rendered(full()), "posit"), Server(KEY, CONFIG_KEY), **pools)
    assert carried.changes == ()
    assert facts.export.keys() == OVERLAY.keys()
    gone = observe(owner, {}, Server(KEY, None), **pools)
    assert gone.selector == {}
    ignoring = profile({**RELEASE, "driftPolicy": {"ignore": [{"paths": ["/tolerations"]}]}})
    assert TOLERATION not in pointers(observe(ignoring, found, Server(KEY, CONFIG_KEY), **pools).changes)


def test_server_of() -> None:
    assert server_of(
        objects(rendered(), "posit")[KEY] | {"metadata": {"name": "connect", "namespace": "posit"}}
    ) == Server(KEY, CONFIG_KEY)
    bare = {"metadata": {"name": "connect", "namespace": "posit"}, "spec": {"template": {"spec": {"containers": [{}]}}}}
    assert server_of(bare) == Server(KEY, None)
    by_secret = {"name": "config", "secret": {"secretName": "x"}}
    mounted: Json = {"volumeMounts": [{"name": "config", "subPath": "rstudio-connect.gcfg"}]}
    bare["spec"] = {"template": {"spec": {"containers": [mounted], "volumes": [by_secret]}}}
    assert server_of(bare) == Server(KEY, None)


@pytest.mark.parametrize(
    ("pointer", "expected"),
    [
        (TOLERATION, True),
        ("/tolerations", True),
        ("/nodeSelector/workload", True),
        (ANNOTATION, True),
        ("/tolerationsOfOthers", False),
        ("/topologySpreadConstraints[topologyKey=zone]", False),
        ("/backends/kubernetes/defaultResourceJobBase/spec/template/spec/nodeSelector/workload", False),
        ("/config/Kubernetes/RenderedContentAnnotation[key=x]", False),
        ("/pod/labels", False),
        ("/", False),
    ],
)
def test_guards(pointer: str, expected: bool) -> None:  # noqa: FBT001 - a column
    assert guards(pointer) is expected


def test_claims() -> None:
    def deployment(*volumes: Json) -> Json:
        return {"spec": {"template": {"spec": {"volumes": list(volumes)}}}}

    def claim(name: str) -> Json:
        return {"name": name, "persistentVolumeClaim": {"claimName": name}}

    assert claims(deployment(claim("b"), {"name": "c", "configMap": {}}, claim("a"))) == ("a", "b")
    assert claims({}) == claims({"spec": {"template": {"spec": {"volumes": None}}}}) == ()

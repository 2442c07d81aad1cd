"""Objects of the Connect chart: which they are, and what they show of the overlay."""

import copy
from typing import Any

import pytest
import yaml
from hypothesis import given

from connect_autoscaler.release.lists import JOB_POD, JOB_TOLERATIONS, RENDERED, SERVER_TOLERATIONS
from connect_autoscaler.release.manifest import (
    ObjectKey,
    Server,
    changed,
    find_server,
    gcfg_value,
    in_effect,
    objects,
    place,
    restarts,
    shown_by,
    shown_by_config,
    shown_by_pod,
)
from connect_autoscaler.release.merge import differences, merge
from connect_autoscaler.release.overlay import DO_NOT_DISRUPT, SERVER_ANNOTATIONS
from connect_autoscaler.release.values import Path, effective, get, put
from unit.release_builders import OVERLAY
from unit.values_strategies import defaults, documents, overlays, spread

Json = dict[str, Any]

GCFG = """\
; Enabled = false
[Authentication]
Provider = password
Enabled = false
RenderedContentAnnotation = not=ours

[Kubernetes]
# RenderedContentAnnotation = commented=out
Enabled = true
Namespace = posit
Namespace = content
RenderedContentAnnotation = example.com/a=b=c
  RenderedContentAnnotation="karpenter.sh/do-not-disrupt=true"
RenderedContentAnnotation =
Bare

[Licensing]
Enabled = no
"""
JOB = {"apiVersion": "batch/v1", "kind": "Job", **get(OVERLAY, JOB_POD[:3])}  # type: ignore[dict-item]
MANIFEST = f"""\
---
# Source: rstudio-connect/templates/service.yaml
apiVersion: v1
kind: Service
metadata:
  name: connect-rsc
---
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: helper
  namespace: posit
spec: {{template: {{spec: {{containers: [{{name: other}}]}}}}}}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: connect-rsc-prestart
data: {{prestart.bash: "true"}}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: connect-rsc-config
  namespace: posit
data: {yaml.safe_dump({"rstudio-connect.gcfg": GCFG, "job.yaml": yaml.safe_dump(JOB)}, default_flow_style=True)}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: connect-rsc
  namespace: posit
spec:
  replicas: 1
  template:
    metadata:
      annotations: {{karpenter.sh/do-not-disrupt: "true", checksum/config: abc}}
    spec:
      nodeSelector: {{workload: connect-server}}
      tolerations: {yaml.safe_dump(OVERLAY["tolerations"], default_flow_style=True)}
      containers: [{{name: sidecar}}, {{name: connect}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: connect-rsc
  namespace: content
"""
DEPLOYMENT = ObjectKey("Deployment", "posit", "connect-rsc")
CONFIG = ObjectKey("ConfigMap", "posit", "connect-rsc-config")
SERVER = Server(DEPLOYMENT, CONFIG)
FOUND = objects(MANIFEST, "posit")


def without(key: ObjectKey) -> dict[ObjectKey, Json]:
    return {each: found for each, found in FOUND.items() if each != key}


def test_objects() -> None:
    assert [str(key) for key in FOUND] == [
        "Service/posit/connect-rsc",
        "Deployment/posit/helper",
        "ConfigMap/posit/connect-rsc-prestart",
        "ConfigMap/posit/connect-rsc-config",
        "Deployment/posit/connect-rsc",
        "Role/content/connect-rsc",
    ]
    assert objects("", "posit") == objects("---\n---\n# nothing\n", "posit") == objects("- a\n- b", "posit") == {}
    assert list(objects("kind: A", "posit")) == [("A", "posit", "")]
    with pytest.raises(yaml.YAMLError):
        objects("a: [", "posit")


def test_find_server_by_its_container_and_not_by_its_name() -> None:
    assert find_server(FOUND) == SERVER
    assert find_server(without(CONFIG)) == Server(DEPLOYMENT, None)
    assert find_server(without(DEPLOYMENT)) is None
    assert find_server({}) is None
    assert find_server({DEPLOYMENT: {"spec": {"template": {"spec": {"containers": None}}}}}) is None


@pytest.mark.parametrize("name", ["connect-rstudio-connect", "rsc-prod", "posit", "x" * 63])
def test_find_server_under_every_name(name: str) -> None:
    renamed = objects(MANIFEST.replace("connect-rsc", name), "posit")
    expected = Server(ObjectKey("Deployment", "posit", name), ObjectKey("ConfigMap", "posit", f"{name}-config"))
    assert find_server(renamed) == expected


def test_changed_and_restarts() -> None:
    after = copy.deepcopy(FOUND)
    assert changed(FOUND, after) == ()
    assert not restarts(FOUND, after, SERVER)
    after[DEPLOYMENT]["spec"]["replicas"] = 2
    after[ObjectKey("Role", "posit", "new")] = {}
    del after[CONFIG]
    assert [str(key) for key in changed(FOUND, after)] == [
        "ConfigMap/posit/connect-rsc-config",
        "Deployment/posit/connect-rsc",
        "Role/posit/new",
    ]
    assert not restarts(FOUND, after, SERVER)
    after[DEPLOYMENT]["spec"]["template"]["metadata"]["annotations"]["checksum/config"] = "def"
    assert restarts(FOUND, after, SERVER)
    assert restarts(FOUND, without(DEPLOYMENT), SERVER)


def test_section_of_the_gcfg() -> None:
    config = {"data": {"rstudio-connect.gcfg": GCFG}}
    shown = shown_by_config(config)
    assert get(shown, ("backends", "kubernetes", "enabled")) is True
    assert get(shown, RENDERED) == ["example.com/a=b=c", "karpenter.sh/do-not-disrupt=true", ""]
    assert gcfg_value(config, "Namespace") == "content"
    assert gcfg_value(config, "Bare") is None
    assert gcfg_value(config, "Provider") is None


@pytest.mark.parametrize(
    ("gcfg", "enabled"),
    [
        ("[Kubernetes]\nEnabled = true", True),
        ("[Kubernetes]\r\nEnabled=TRUE\r\n", True),
        ("[ Kubernetes ]\nEnabled = true", True),
        ("[Kubernetes]\nEnabled = false", False),
        ("[Kubernetes]\n;Enabled = true", False),
        ("[Kubernetes]\n#Enabled = true", False),
        ("[Launcher]\nEnabled = true", False),
        ("[Kubernetes]\n[Launcher]\nEnabled = true", False),
        ("[KubernetesX]\nEnabled = true", False),
        ("Enabled = true\n[Kubernetes]", False),
        ("", False),
    ],
)
def test_backend_as_the_gcfg_shows_it(gcfg: str, enabled: bool) -> None:  # noqa: FBT001
    shown = shown_by_config({"data": {"rstudio-connect.gcfg": gcfg}})
    assert get(shown, ("backends", "kubernetes", "enabled")) is enabled


@pytest.mark.parametrize("job", ["", "a: [", "- a", "text", "null", "{{ nothing }}"])
def test_a_job_base_that_is_none_shows_nothing(job: str) -> None:
    shown = shown_by_config({"data": {"job.yaml": job}})
    assert get(shown, JOB_POD[:3]) == {}


@pytest.mark.parametrize("job", ["spec: text", "spec: {template: []}", "spec: {template: {spec: {nodeSelector: a}}}"])
def test_a_job_base_of_another_shape_is_a_difference(job: str) -> None:
    bent = {**FOUND, CONFIG: {"data": {**FOUND[CONFIG]["data"], "job.yaml": job}}}
    found = differences(shown_by(bent, SERVER), OVERLAY)
    assert found
    assert all(place(change.pointer).in_config for change in found)


def test_everything_shows() -> None:
    assert differences(shown_by(FOUND, SERVER), OVERLAY) == ()


def test_what_is_missing_shows_nothing() -> None:
    for each in (shown_by({}, SERVER), shown_by({}, Server(DEPLOYMENT, None))):
        missing = differences(each, OVERLAY)
        assert len(missing) == 7
        assert {place(change.pointer).in_config for change in missing} == {True, False}
    in_config = [change.pointer for change in differences(shown_by(without(CONFIG), SERVER), OVERLAY)]
    in_deployment = [change.pointer for change in differences(shown_by(without(DEPLOYMENT), SERVER), OVERLAY)]
    assert (len(in_config), len(in_deployment)) == (4, 3)
    assert all(place(each).in_config for each in in_config)
    assert not any(place(each).in_config for each in in_deployment)


TEMPLATE: Json = FOUND[DEPLOYMENT]["spec"]["template"]
SERVER_PART = {key: OVERLAY[key] for key in OVERLAY if key not in {"backends", "config"}}


@pytest.mark.parametrize(
    ("path", "value", "pointer"),
    [
        (("spec", "nodeSelector"), {}, "/nodeSelector/workload"),
        (("spec", "nodeSelector", "workload"), "other", "/nodeSelector/workload"),
        (("spec", "tolerations"), None, "/tolerations[key=workload,effect=NoSchedule]"),
        (("metadata", "annotations"), None, "/pod/annotations/karpenter.sh~1do-not-disrupt"),
        (("metadata", "annotations", DO_NOT_DISRUPT), "false", "/pod/annotations/karpenter.sh~1do-not-disrupt"),
    ],
)
def test_a_pod_shows_what_it_lacks(path: Path, value: object, pointer: str) -> None:
    pod = copy.deepcopy(TEMPLATE)
    assert differences(shown_by_pod(pod), SERVER_PART) == ()
    put(pod, path, value)
    (change,) = differences(shown_by_pod(pod), SERVER_PART)
    assert change.pointer == pointer


def test_what_the_cluster_adds_to_a_pod_is_no_difference() -> None:
    pod = copy.deepcopy(TEMPLATE)
    pod["spec"]["tolerations"].append({"key": "node.kubernetes.io/not-ready", "operator": "Exists"})
    pod["spec"]["nodeSelector"]["disk"] = "ssd"
    pod["metadata"]["annotations"]["cni/ip"] = "10.0.0.1"
    assert differences(shown_by_pod(pod), SERVER_PART) == ()


def test_in_effect_is_the_users_where_his_serves() -> None:
    wide, own = {"key": "workload", "operator": "Exists"}, f"{DO_NOT_DISRUPT}=4h"
    values: Json = {"tolerations": [{"key": "a"}, wide], "pod": {"annotations": {DO_NOT_DISRUPT: True}}}
    put(values, RENDERED, own)
    found = in_effect(values, OVERLAY)
    assert found["tolerations"] == [wide]
    assert get(found, RENDERED) == [own]
    assert get(found, (*SERVER_ANNOTATIONS, DO_NOT_DISRUPT)) is True
    assert found["nodeSelector"] == OVERLAY["nodeSelector"]
    assert get(found, JOB_POD) == get(OVERLAY, JOB_POD)
    assert in_effect({}, OVERLAY) == OVERLAY
    assert in_effect(OVERLAY, {}) == {}


def test_in_effect_of_lists_that_hold_something_else() -> None:
    wanted: Json = {"topologySpreadConstraints": [spread("zone")]}
    assert in_effect({"topologySpreadConstraints": [spread("rack")]}, wanted) == wanted
    stricter = spread("zone", skew=3)
    assert in_effect({"topologySpreadConstraints": [stricter]}, wanted) == {"topologySpreadConstraints": [stricter]}


def test_in_effect_is_itself_among_elements_of_one_key() -> None:
    brief, lasting = {"operator": "Exists", "tolerationSeconds": 0}, {"operator": "Exists"}
    values, ours = {"tolerations": [brief, lasting]}, {"tolerations": OVERLAY["tolerations"]}
    assert in_effect(values, ours) == {"tolerations": [lasting]}
    assert in_effect(values, {"tolerations": [lasting]}) == {"tolerations": [lasting]}


@given(documents(), defaults(), overlays())
def test_merged_values_show_what_is_in_effect(config: Json, chart: Json, wanted: Json) -> None:
    values = effective(chart, merge(config, chart, {}, wanted, {}).values)
    expected = in_effect(values, wanted)
    assert differences(values, expected) == ()
    assert in_effect(values, expected) == expected


@pytest.mark.parametrize(
    ("pointer", "in_config", "shown_at"),
    [
        ("/nodeSelector/workload", False, "/spec/template/spec/nodeSelector/workload"),
        ("/nodeSelector", False, "/spec/template/spec/nodeSelector"),
        (
            "/tolerations[key=workload,effect=NoSchedule]",
            False,
            "/spec/template/spec/tolerations[key=workload,effect=NoSchedule]",
        ),
        (
            "/topologySpreadConstraints[topologyKey=a,whenUnsatisfiable=b]",
            False,
            "/spec/template/spec/topologySpreadConstraints[topologyKey=a,whenUnsatisfiable=b]",
        ),
        (
            "/pod/annotations/karpenter.sh~1do-not-disrupt",
            False,
            "/spec/template/metadata/annotations/karpenter.sh~1do-not-disrupt",
        ),
        ("/backends/kubernetes/enabled", True, "/data/rstudio-connect.gcfg#/Kubernetes/Enabled"),
        (
            "/config/Kubernetes/RenderedContentAnnotation[key=a]",
            True,
            "/data/rstudio-connect.gcfg#/Kubernetes/RenderedContentAnnotation[key=a]",
        ),
        ("/backends/kubernetes/defaultResourceJobBase/spec/a", True, "/data/job.yaml#/spec/a"),
    ],
)
def test_place(pointer: str, in_config: bool, shown_at: str) -> None:  # noqa: FBT001
    assert place(pointer) == (in_config, shown_at)


@pytest.mark.parametrize("pointer", ["", "/", "/nodeSelectors/a", "/tolerationsX", "/replicas", "/backends/kubernetes"])
def test_place_of_what_is_not_in_the_overlay(pointer: str) -> None:
    with pytest.raises(ValueError, match="^" + pointer + "$"):
        place(pointer)


@given(overlays())
def test_everything_in_an_overlay_has_a_place(wanted: Json) -> None:
    places = [place(change.pointer) for change in differences({}, wanted)]
    assert len(places) == len(set(places))
    paths = (SERVER_TOLERATIONS, JOB_TOLERATIONS)
    assert len(places) >= 5 + sum(len(get(wanted, path) or ()) for path in paths)

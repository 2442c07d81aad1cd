"""Pods of a release, and which of them a restart of the server has to wait for."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from connect_autoscaler.release.pods import Pod, in_the_way
from unit.builders import NOW, stamp

ANNOTATED: Any = {"annotations": {"karpenter.sh/do-not-disrupt": "true"}}


def body(name: str = "render-1", *, created: datetime = NOW, spec: Any = None, status: Any = None, **meta: Any) -> Any:
    metadata = {
        "name": name,
        "namespace": "posit",
        "uid": f"uid-of-{name}",
        "creationTimestamp": stamp(created),
        **meta,
    }
    return {"metadata": metadata, "spec": spec or {}, **({} if status is None else {"status": status})}


def test_a_young_pod_has_little_to_say() -> None:
    pod = Pod.of(body())
    assert (pod.name, pod.namespace, pod.uid, pod.created) == ("render-1", "posit", "uid-of-render-1", NOW)
    assert (pod.phase, pod.ready, pod.terminating, pod.node, pod.protected, pod.over) == (
        "Pending", False, False, None, False, False,
    )  # fmt: skip


def test_what_is_kept_of_a_pod_is_what_may_show_the_overlay() -> None:
    spec = {
        "nodeName": "node-1",
        "nodeSelector": {"workload": "connect-server"},
        "tolerations": [{"operator": "Exists"}],
        "topologySpreadConstraints": [],
        "containers": [{"env": [{"name": "PASSWORD", "value": "SECRET"}]}],
    }
    status = {
        "phase": "Running",
        "conditions": [{"type": "Initialized", "status": "True"}, {"type": "Ready", "status": "True"}],
    }
    pod = Pod.of(body(spec=spec, status=status, deletionTimestamp=stamp(NOW), **ANNOTATED))
    assert (pod.phase, pod.ready, pod.terminating, pod.node, pod.protected) == ("Running", True, True, "node-1", True)
    kept = {key: spec[key] for key in ("nodeSelector", "tolerations", "topologySpreadConstraints")}
    assert pod.body == {"metadata": ANNOTATED, "spec": kept}
    assert "SECRET" not in f"{pod!r}{pod.body}"


@pytest.mark.parametrize(
    ("conditions", "ready"),
    [
        ([], False),
        ([{"type": "Ready", "status": "False"}], False),
        ([{"type": "ContainersReady", "status": "True"}], False),
    ],
)
def test_ready_is_the_condition_of_that_name(conditions: list[Any], ready: bool) -> None:  # noqa: FBT001 - a column
    assert Pod.of(body(status={"phase": "Running", "conditions": conditions})).ready is ready


def test_a_pod_of_the_schedulers_own_time() -> None:
    assert Pod.of(body(created=NOW - timedelta(hours=1))).created == NOW - timedelta(hours=1)


BEFORE, AFTER = NOW - timedelta(hours=1), NOW + timedelta(hours=1)


@pytest.mark.parametrize(
    ("pod", "since", "waits"),
    [
        (body(created=AFTER, **ANNOTATED), NOW, True),
        (body(created=AFTER), NOW, False),
        (body(created=BEFORE), NOW, True),
        (body(created=BEFORE, **ANNOTATED), NOW, True),
        (body(created=NOW), NOW, True),
        (body(created=AFTER), None, True),
        (body(created=AFTER, status={"phase": "Succeeded"}, **ANNOTATED), NOW, False),
        (body(created=BEFORE, status={"phase": "Failed"}), None, False),
        (body(created=BEFORE, status={"phase": "Running"}, deletionTimestamp=stamp(NOW)), None, True),
    ],
    ids=[
        "a render", "interactive", "of a time without the overlay", "annotated by others", "of the same second",
        "no server carries the overlay", "a render that ended", "one that failed", "one that ends",
    ],
)  # fmt: skip
def test_in_the_way(pod: Any, since: datetime | None, waits: bool) -> None:  # noqa: FBT001 - a column
    assert in_the_way([Pod.of(pod)], since) == (("render-1",) if waits else ())


def test_they_are_named_in_order() -> None:
    assert in_the_way([Pod.of(body(name)) for name in ("c", "a", "b")], None) == ("a", "b", "c")
    assert in_the_way([], None) == ()

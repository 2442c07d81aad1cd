"""What has to be true of NodePools and values once a spec is declared, told without the product's own rendering."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any, Final

import durationpy
from kubernetes.utils.quantity import parse_quantity

from connect_autoscaler.api.profile import Profile
from connect_autoscaler.release.overlay import overlay
from harness import NODE_CLASS, Json
from profile_specs import Spec
from reliability.operations import NODE_CLASSES, node_class, pools

_DURATIONS: Final = frozenset({"duration", "consolidateAfter", "expireAfter", "terminationGracePeriod"})
_PLAIN: Final = ("startupTaints", "expireAfter", "terminationGracePeriod")
_PROTECT: Final = "connect-autoscaler.io/protect"
_BASE: Final = {"karpenter.sh/capacity-type": "on-demand", "kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux"}
_UID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def managed(spec: Spec) -> list[Spec]:
    """Return the pools that the operator writes."""
    return [pool for pool in pools(spec) if pool.get("management", "Managed") == "Managed"]


def served(spec: Spec) -> bool:
    """Tell whether every NodeClass that a pool asks for exists."""
    return all(_known(node_class(pool, spec)) for pool in managed(spec))


def _known(reference: Json) -> bool:
    alike = all(reference[key] == NODE_CLASS[key] for key in ("group", "kind"))
    return alike and reference["name"] in NODE_CLASSES


def refusable(spec: Spec) -> set[str]:
    """Return the reasons that the operator may have to write nothing, though the schema takes the spec."""
    found = set()
    for pool in managed(spec):
        if any("Unhealthy" in budget.get("reasons", ()) for budget in pool["disruption"].get("budgets", ())):
            found.add("Invalid")  # the campaign's Karpenter does not know it
        required = [requirement["key"] for requirement in pool.get("requirements", ())]
        keys = Counter([*pool.get("labels", ()), *required, *(_BASE.keys() - set(required))])
        if max(keys.values(), default=0) > 1:
            found.add("Unsatisfiable")
    return found


def undeclared(spec: Spec, live: Mapping[str, Json | None]) -> Iterator[str]:
    """Say, one sentence each, which declared fields are not found in the NodePools, and what is there undeclared.

    Args:
        spec: As the API server filled it in.
        live: NodePools by name.
    """
    for number, pool in enumerate(pools(spec)):
        if pool.get("management", "Managed") == "External":
            continue
        found = live.get(pool["name"])
        if found is None:
            yield f"NodePool {pool['name']} does not exist"
            continue
        wanted = _declared(spec, pool, server=number == 0)
        shown = _shown(found)
        for field in sorted(wanted.keys() | shown.keys()):
            if canonical(wanted.get(field), field) != canonical(shown.get(field), field):
                yield f"{pool['name']} {field}: declared {wanted.get(field)}, found {shown.get(field)}"


def _declared(spec: Spec, pool: Spec, *, server: bool) -> Json:
    placement = spec["placement"]
    own = placement["server" if server else "content"]
    taint = [{"key": placement["labelKey"], "value": own, "effect": "NoSchedule"}] if server else []
    keys = {requirement["key"] for requirement in pool.get("requirements", ())}
    base = [{"key": key, "operator": "In", "values": [value]} for key, value in _BASE.items() if key not in keys]
    disruption = pool["disruption"]
    return _present(
        nodeClassRef=node_class(pool, spec),
        labels={**pool.get("labels", {}), placement["labelKey"]: own},
        annotations=pool.get("annotations"),
        taints=[*taint, *pool.get("taints", ())],
        requirements=[*base, *pool.get("requirements", ())],
        weight=pool.get("weight"),
        limits=pool.get("limits"),
        consolidationPolicy=disruption.get("consolidationPolicy"),
        consolidateAfter=disruption.get("consolidateAfter"),
        **({"budgets": disruption["budgets"]} if disruption.get("budgets") else {}),
        protected=pool.get("deletionProtection") or None,
        **{field: pool.get(field) for field in _PLAIN},
        **({} if disruption.get("budgets") else {"budgets": _budgets(server=server)}),
    )


def _budgets(*, server: bool) -> list[Json]:
    kept = {"nodes": "0", "reasons": ["Underutilized", "Drifted"]}
    return [kept, {"nodes": "1", "reasons": ["Empty"]}] if server else [{"nodes": "10%"}]


def _shown(pool: Json) -> Json:
    spec, template = pool["spec"], pool["spec"]["template"]
    disruption = spec["disruption"]
    return _present(
        nodeClassRef=template["spec"]["nodeClassRef"],
        labels=template["metadata"].get("labels"),
        annotations=template["metadata"].get("annotations"),
        taints=template["spec"].get("taints"),
        requirements=template["spec"]["requirements"],
        weight=spec.get("weight"),
        limits=spec.get("limits"),
        budgets=disruption.get("budgets"),
        consolidationPolicy=disruption.get("consolidationPolicy"),
        consolidateAfter=disruption.get("consolidateAfter"),
        protected=_PROTECT in pool["metadata"].get("finalizers", ()) or None,
        **{field: template["spec"].get(field) for field in _PLAIN},
    )


def missing_in_values(body: Json) -> Iterator[str]:
    """Say, one sentence each, which declared fields the values for the release lack.

    Args:
        body: The profile as the API server gave it.
    """
    spec = body["spec"]
    taints = [pool.get("taints", []) for pool in pools(spec)]
    placement, content = spec["placement"], spec["content"]
    own = {"key": placement["labelKey"], "value": placement["server"], "effect": "NoSchedule"}
    values = overlay(Profile.of(body), [own, *taints[0]], [each for some in taints[1:] for each in some], {"a": "b"})
    job = values["backends"]["kubernetes"]["defaultResourceJobBase"]["spec"]["template"]["spec"]
    annotation = f"karpenter.sh/do-not-disrupt={content['renderedDoNotDisrupt']}"
    pairs = (
        ("placement.server", values["nodeSelector"], {placement["labelKey"]: placement["server"]}),
        ("placement.content", job["nodeSelector"], {placement["labelKey"]: placement["content"]}),
        ("content.renderedDoNotDisrupt", values["config"]["Kubernetes"]["RenderedContentAnnotation"], [annotation]),
        ("taints", _keys(values.get("tolerations", ())), _keys([own, *taints[0]])),
        ("content taints", _keys(job.get("tolerations", ())), _keys(t for some in taints[1:] for t in some)),
        (
            "server.topologySpread",
            _without_selector(values.get("topologySpreadConstraints", ())),
            spec.get("server", {}).get("topologySpread", []),
        ),
    )
    yield from (f"{name}: declared {wanted}, in the values {found}" for name, found, wanted in pairs if found != wanted)
    if "topologySpread" in content:
        found = _without_selector(job.get("topologySpreadConstraints", ()))
        if found != content["topologySpread"]:
            yield f"content.topologySpread: declared {content['topologySpread']}, in the values {found}"


def _keys(taints: Any) -> set[tuple[str, str | None, str]]:
    return {(each["key"], each.get("value"), each["effect"]) for each in taints}


def _without_selector(spread: Any) -> list[Json]:
    return [{key: value for key, value in each.items() if key != "labelSelector"} for each in spread]


def picture(body: Json, live: Mapping[str, Json | None], own: str) -> Json:
    """Return the end state without what differs between profiles: names, uids, versions, times."""
    conditions = {c["type"]: [c["status"], c["reason"]] for c in body.get("status", {}).get("conditions", ())}
    seen = {
        "conditions": conditions,
        "pools": {name: pool and _normal(pool) for name, pool in live.items()},
    }
    return dict(json.loads(_UID.sub("uid", json.dumps(seen)).replace(own, "*")))


def _normal(pool: Json) -> Json:
    meta = pool["metadata"]
    own = {key: value for key, value in meta.get("annotations", {}).items() if not key.startswith("karpenter.sh/")}
    finalizers = [each for each in meta.get("finalizers", ()) if not each.startswith("karpenter.sh/")]
    return {"labels": meta.get("labels"), "annotations": own, "finalizers": finalizers, "spec": canonical(pool["spec"])}


def canonical(value: Any, field: str = "") -> Any:
    """Return the value with lists in one order, and durations and quantities in one spelling: who wrote it may vary."""
    if isinstance(value, dict):
        within = field if field == "limits" else ""
        present = {key: below for key, below in sorted(value.items()) if below not in ([], {}, None)}
        return {key: canonical(below, within or key) for key, below in present.items()}
    if value is None:
        return None
    if field == "limits":
        return str(Fraction(parse_quantity(value)))
    if field in _DURATIONS and value != "Never":
        return durationpy.from_str(value).total_seconds()
    if isinstance(value, list) and field in {"values", "reasons"}:
        return sorted(set(value))
    if isinstance(value, list):
        return sorted((canonical(each) for each in value), key=lambda each: json.dumps(each, sort_keys=True))
    return value


def _present(**fields: Any) -> Json:
    return {name: value for name, value in fields.items() if value not in (None, [], {})}

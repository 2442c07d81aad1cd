"""The overlay for releases that others write: a ConfigMap that their tool takes values from. Pure."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from connect_autoscaler.api.names import FIELD_MANAGER, LABEL_MANAGED_BY, LABEL_PROFILE
from connect_autoscaler.api.pointers import parts, pointer
from connect_autoscaler.api.spec import ReleaseManager
from connect_autoscaler.release.lists import LISTS, elements
from connect_autoscaler.release.owners import Owner
from connect_autoscaler.release.values import Json, Path, get, has, same

KEY: Final = "values.yaml"
_WATCH: Final = {"reconcile.fluxcd.io/watch": "Enabled"}
"""Flux looks at once when an object with this label changes."""


def exported(values: Mapping[str, Any], overlay: Mapping[str, Any], path: Path = ()) -> Json:
    """The part of the merged values that the overlay is about.

    Lists are complete, the user's elements among ours: values that come later replace lists whole.
    """
    found: Json = {}
    for key, want in overlay.items():
        below = (*path, key)
        if isinstance(want, Mapping) and below not in LISTS:
            found[key] = exported(values, want, below)
        else:
            found[key] = get(values, below)
    return found


def config_map(profile: str, namespace: str, owner: Owner, values: Mapping[str, Any]) -> Json:
    """Write the ConfigMap; its text is JSON, which is YAML that no reader takes for something else."""
    flux = owner.manager is ReleaseManager.FLUX
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name_of(profile),
            "namespace": owner.namespace if flux else namespace,
            "labels": {LABEL_MANAGED_BY: FIELD_MANAGER, LABEL_PROFILE: profile, **(_WATCH if flux else {})},
        },
        "data": {KEY: json.dumps(values, indent=2, sort_keys=True) + "\n"},
    }


def name_of(profile: str) -> str:
    """Name of a profile's ConfigMap."""
    return f"{profile}-values"


def advice(profile: str, namespace: str, owner: Owner) -> str:
    """The one line that the user adds to his Git."""
    name = name_of(profile)
    match owner.manager:
        case ReleaseManager.FLUX:
            return (
                f"add to HelmRelease {owner.namespace}/{owner.name}, as the last entry of spec.valuesFrom: "
                f"{{kind: ConfigMap, name: {name}, optional: true}}"
            )
        case ReleaseManager.ARGO_CD:
            what = f"Application {owner.name}" if owner.name else "the Application"
            return f"put {KEY} of ConfigMap {namespace}/{name} into the Helm values of {what}, as the last values file"
        case _:
            return (
                f"give it to your pipeline as the last values: kubectl get configmap -n {namespace} {name} "
                f"-o jsonpath='{{.data.values\\.yaml}}' | helm upgrade ... -f -"
            )


def shadows(helm_release: Mapping[str, Any], overlay: Mapping[str, Any], path: Path = ()) -> list[str]:
    """Values of the overlay that a HelmRelease sets inline, which wins over valuesFrom."""
    inline = get(helm_release, ("spec", "values")) or {}
    found: list[str] = []
    for key, want in overlay.items():
        below = (*path, key)
        if isinstance(want, Mapping) and below not in LISTS:
            found += shadows(helm_release, want, below)
        elif has(inline, below) and not _serves(below, get(inline, below), want):
            found.append(pointer(below))
    return found


def overridden(helm_release: Mapping[str, Any], profile: str, lacking: Iterable[str]) -> list[str]:
    """Values that a release lacks although it takes the profile's ConfigMap, since other sources may win over it.

    A source with a targetPath wins over all values there, and every source over those before it. What they hold is not
    looked at, so they count where a value is lacking.

    Args:
        helm_release: The HelmRelease.
        profile: Name of the profile.
        lacking: Pointers of the values.
    """
    sources = get(helm_release, ("spec", "valuesFrom")) or ()
    targets = [_target(each["targetPath"]) for each in sources if each.get("targetPath")]
    whole = [_is_ours(each, profile) for each in sources if not each.get("targetPath")]
    followed = True in whole and not whole[-1]
    return [name for name in lacking if followed or any(_overlap(parts(name.partition("[")[0]), t) for t in targets)]


def _target(text: str) -> Path:
    r"""Read Flux's targetPath, which has the form of ``helm --set``: ``a.b[0].c``, a dot in a name as ``\.``."""
    return tuple(name.replace("\\.", ".") for name in re.split(r"(?<!\\)\.", text.partition("[")[0]))


def _overlap(one: Path, other: Path) -> bool:
    length = min(len(one), len(other))
    return one[:length] == other[:length]


def _is_ours(source: Mapping[str, Any], profile: str) -> bool:
    return source.get("kind") == "ConfigMap" and source.get("name") == name_of(profile)


def _serves(path: Path, have: Any, want: Any) -> bool:
    """Whether a value does what the overlay needs: a list may hold more."""
    if path not in LISTS:
        return same(have, want)
    return all(any(LISTS[path].serves(each, item) for each in elements(have)) for item in elements(want))


def refers(helm_release: Mapping[str, Any], profile: str) -> bool:
    """Whether a HelmRelease takes values from the profile's ConfigMap."""
    sources = get(helm_release, ("spec", "valuesFrom")) or ()
    return any(_is_ours(each, profile) for each in sources)

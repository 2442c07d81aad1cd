"""Rights, by SelfSubjectAccessReview: the caller's to install, and the operator's, seen by impersonating it."""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from connect_autoscaler.api.names import GROUP, KARPENTER_GROUP, PLURAL
from connect_autoscaler.api.profile import Profile
from connect_autoscaler.api.release import Release, ReleaseManager
from connect_autoscaler.api.spec import Mode, PoolDeletion
from connect_autoscaler.api.status import CheckResult
from connect_autoscaler.cli.cluster import DEPLOYMENTS, Cluster, Json
from connect_autoscaler.cli.version import OPERATOR, SELECTOR

_EVENTS: Final = "events.k8s.io"


class Right(NamedTuple):
    """Verbs on a resource."""

    verbs: str
    group: str
    resource: str
    namespace: str = ""
    name: str = ""


_READ: Final = (
    Right("list watch patch", GROUP, PLURAL),
    Right("patch", GROUP, f"{PLURAL}/status"),
    Right("get list watch", KARPENTER_GROUP, "nodepools"),
    Right("list watch", KARPENTER_GROUP, "nodeclaims"),
    Right("create", _EVENTS, "events", "default"),
)
_ENFORCE: Final = (Right("create patch", KARPENTER_GROUP, "nodepools"), Right("patch", KARPENTER_GROUP, "nodeclaims"))
_DELETE: Final = (Right("delete", KARPENTER_GROUP, "nodepools"),)
_RELEASE: Final = (
    Right("get list watch", "", "secrets"),
    Right("list watch", "", "pods"),
    Right("list watch", "", "configmaps"),
    Right("list watch", "apps", "deployments"),
)
_RELEASE_WRITES: Final = (Right("create patch", "", "secrets"),)
_INSTALL: Final = (
    Right("create", "", "namespaces"),
    Right("create", "apiextensions.k8s.io", "customresourcedefinitions"),
    Right("create", "rbac.authorization.k8s.io", "clusterroles"),
    Right("create", "rbac.authorization.k8s.io", "clusterrolebindings"),
    Right("create", GROUP, PLURAL),
)
_INSTALL_NAMESPACED: Final = (Right("create", "apps", "deployments"), Right("create", "", "serviceaccounts"))


def to_install(cluster: Cluster, namespace: str) -> Iterator[Json]:
    """Check whether the caller may install the operator and write profiles."""
    needed = (*_INSTALL, *(right._replace(namespace=namespace) for right in _INSTALL_NAMESPACED))
    yield from _judged(cluster, "Your rights", needed, None)


def of_operator(cluster: Cluster, namespace: str, profile: Profile) -> Iterator[Json]:
    """Check whether the operator has the rights that a profile needs; not those of whom it impersonates."""
    spec, release = profile.spec, profile.spec.release
    enforced = spec.mode is Mode.ENFORCE
    deletes = enforced and spec.deletion_policy.node_pools is PoolDeletion.DELETE
    needed = [*_READ, *(_ENFORCE if enforced else ()), *(_DELETE if deletes else ())]
    if release is not None and profile.claimed_release is not None:
        rights = (*_RELEASE, *(_RELEASE_WRITES if enforced else ()))
        # Also in mode Plan: helm proves the chart as that account.
        if release.service_account_name and _writer(profile, release) in {ReleaseManager.AUTO, ReleaseManager.HELM}:
            rights = (*rights, Right("impersonate", "", "serviceaccounts", name=release.service_account_name))
        needed += [right._replace(namespace=release.namespace) for right in rights]
    user = f"system:serviceaccount:{namespace}:{_account(cluster, namespace)}"
    yield from _judged(cluster, f"Rights for {profile.name}", needed, user)


def _writer(profile: Profile, release: Release) -> str:
    """Who writes the release; if the profile leaves that open, the one whom the operator has found."""
    found = profile.status.release and profile.status.release.manager
    return found if found and release.manager is ReleaseManager.AUTO else release.manager


def _account(cluster: Cluster, namespace: str) -> str:
    found = cluster.list(DEPLOYMENTS, namespace, labelSelector=SELECTOR)
    accounts = [body["spec"]["template"]["spec"].get("serviceAccountName", "default") for body in found]
    return str(accounts[0]) if accounts else OPERATOR


def _judged(cluster: Cluster, name: str, needed: Iterable[Right], user: str | None) -> Iterator[Json]:
    missing = []
    who = user or "You"
    for verbs, group, resource, namespace, thing in needed:
        for verb in verbs.split():
            allowed = cluster.may(verb, group, resource, namespace, thing, user)
            if allowed is None:
                text = f"You may not impersonate {user}, so its rights are not known"
                yield {"name": name, "result": CheckResult.UNKNOWN.value, "message": text}
                return
            if not allowed:
                where = f" in namespace {namespace}" if namespace else ""
                what = f"{resource}{f'.{group}' if group else ''}{f' {thing}' if thing else ''}"
                missing.append(f"{verb} {what}{where}")
    if missing:
        advice = "ask an administrator" if user is None else "kubectl apply -k deploy/, and deploy/release"
        if any(each.startswith("impersonate") for each in missing):
            advice += ", whose operator.yaml names the ServiceAccounts that may be impersonated"
        text = f"{who} may not {', '.join(missing)}; {advice}"
        yield {"name": name, "result": CheckResult.FAILED.value, "message": text}
    else:
        text = f"{who} may do all that is needed"
        yield {"name": name, "result": CheckResult.PASSED.value, "message": text}

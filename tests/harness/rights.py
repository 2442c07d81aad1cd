"""Rights as roles grant them and as the API server's audit log shows them used."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache

from harness.api import Json
from harness.installation import DEPLOY, SERVICE_ACCOUNT, USER
from sandbox import Cluster, Entry
from sandbox.apply import documents


@dataclass(frozen=True, order=True)
class Right:
    """A verb on a resource; an empty namespace or name in a granted right means all of them."""

    verb: str
    group: str
    resource: str
    namespace: str
    name: str

    def covers(self, other: "Right") -> bool:
        """Tell whether this right is enough for another one."""
        return (
            (self.verb, self.group, self.resource) == (other.verb, other.group, other.resource)
            and self.namespace in ("", other.namespace)
            and self.name in ("", other.name)
        )


def granted(objects: Iterable[Json], account: str) -> Iterator[Right]:
    """Expand the rules of every role that is bound to a ServiceAccount; each binding has that one subject only."""
    found = list(objects)
    roles = {(each["kind"], each["metadata"]["name"]): each for each in found if each["kind"].endswith("Role")}
    for binding in (each for each in found if each["kind"].endswith("RoleBinding")):
        (subject,) = binding["subjects"]
        if subject["name"] != account:
            continue
        role = roles[binding["roleRef"]["kind"], binding["roleRef"]["name"]]
        namespace = binding["metadata"].get("namespace", "")
        for rule in role["rules"]:
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    for verb in rule["verbs"]:
                        for name in rule.get("resourceNames", [""]):
                            yield Right(verb, group, resource, namespace, name)


def used(entries: Iterable[Entry]) -> Iterator[Right]:
    """Say which rights requests needed; discovery needs none."""
    for entry in entries:
        if entry.resource:
            resource = "/".join(filter(None, (entry.resource, entry.subresource)))
            right = Right(entry.verb, entry.group, resource, entry.namespace, entry.name)
            yield right
            if entry.verb == "patch" and entry.code == 201:  # an apply that created
                yield Right("create", entry.group, resource, entry.namespace, entry.name)


@cache
def _shipped() -> tuple[Right, ...]:
    """Return all rights that deploy/ has for the operator, whatever the namespace."""
    files = (path for path in sorted(DEPLOY.rglob("*.yaml")) if "helm" not in path.parts)
    texts = (text for text in (path.read_text() for path in files) if "rbac.authorization.k8s.io" in text)
    bodies = [body for text in texts for body in documents(text) if body["kind"].endswith(("Role", "RoleBinding"))]
    return tuple(replace(right, namespace="") for right in granted(bodies, SERVICE_ACCOUNT))


def missing(cluster: Cluster, *, since: int = 0) -> list[str]:
    """Return what the operator was refused and deploy/ does not grant, in the API server's words.

    What a test has taken away is none of that, nor what deploy/ withholds on purpose: deletion of NodePools,
    impersonation of any ServiceAccount but one, and NodeClasses of providers that nobody knows.
    """
    return [
        entry.message
        for entry in cluster.audit.forbidden(USER, since=since)
        for right in used([entry])
        if not any(shipped.covers(right) for shipped in _shipped())
        and (right.verb, right.resource) != ("delete", "nodepools")
        and not right.group.endswith("example.com")
        and " cannot impersonate " not in entry.message
    ]

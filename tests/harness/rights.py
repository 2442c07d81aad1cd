"""Rights as roles grant them and as the API server's audit log shows them used."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from harness.api import Json
from sandbox import Entry


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

"""Replicas of the operator, each with a network of its own to one API server, and what each of them wrote."""

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from harness import DEPLOY, NAMESPACE, Api, Kind, Operator, install
from integration.link import Link
from integration.written import AGENT
from sandbox import Cluster, Entry

LEASES: Final = Kind("coordination.k8s.io/v1", "leases", NAMESPACE)
LEASE: Final = "connect-autoscaler"
COMPONENT: Final = DEPLOY / "components" / "high-availability"
ELECT: Final = ("--leader-elect", "--namespace", NAMESPACE)


@dataclass(frozen=True)
class Replica:
    """One of several operators.

    Attributes:
        operator: The process.
        link: Its network.
    """

    operator: Operator
    link: Link

    @property
    def identity(self) -> str:
        """Return how the Lease names its present process."""
        line = next(line for line in reversed(self.operator.log().splitlines()) if "is held by this process" in line)
        return line.rpartition(" ")[2]


@contextlib.asynccontextmanager
async def replica(cluster: Cluster, number: int, *arguments: str) -> AsyncIterator[Replica]:
    """Start one; it is ready when it works, and also when it stands by."""
    direct = json.loads(install(cluster).read_text())
    cluster.apply(COMPONENT / "lease.yaml")
    async with Link(cluster.server, f"127.0.0.{number + 1}") as link:
        direct["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{link.port}"
        kubeconfig = cluster.dir / f"kubeconfig-replica-{number}"
        kubeconfig.write_text(json.dumps(direct))
        async with Operator(cluster, *ELECT, *arguments, kubeconfig=kubeconfig, name=f"replica-{number}") as operator:
            yield Replica(operator, link)


@dataclass(frozen=True)
class Record:
    """What replicas asked the API server for, from a mark on."""

    cluster: Cluster
    since: int

    @classmethod
    def begin(cls, cluster: Cluster) -> "Record":
        return cls(cluster, cluster.audit.marker())

    def requests(self, by: Replica) -> list[Entry]:
        """Return everything that one asked."""
        return [
            e for e in self.cluster.audit.requests(user_agent=AGENT, since=self.since) if e.source == by.link.source
        ]

    def writes(self, by: Replica | None = None) -> list[Entry]:
        """Return every write but those of the Lease, refused ones too, of one replica or all."""
        found = self.cluster.audit.writes(user_agent=AGENT, since=self.since)
        return [e for e in found if e.resource != "leases" and (by is None or e.source == by.link.source)]

    def turns(self) -> list[str]:
        """Return the sources of writes one after the other; a second turn of a source is a second writer."""
        return [source for source, _ in groupby(e.source for e in self.writes())]

    def taken(self, by: Replica) -> Entry:
        """Return the write by which one took the Lease."""
        found = self.cluster.audit.writes(user_agent=AGENT, since=self.since)
        return next(e for e in found if e.resource == "leases" and e.source == by.link.source and e.code < 300)


def holder(cluster: Cluster) -> str:
    """Return who holds the Lease."""
    lease = Api(cluster.api).find(LEASES, LEASE)
    return str(lease["spec"].get("holderIdentity") or "") if lease else ""

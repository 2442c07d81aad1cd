"""The command lines of the control plane, in the order in which its programs start."""

import fcntl
import json
import os
import random
import socket
import ssl
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Flag, auto
from http import HTTPStatus
from pathlib import Path
from typing import IO, Final

from sandbox.toolchain import cache_dir


class Parts(Flag):
    """What runs. CONTROL, KWOK and KARPENTER are of no use without API."""

    API = auto()
    """etcd and kube-apiserver: validation, admission, RBAC, watches."""
    CONTROL = auto()
    """kube-controller-manager and kube-scheduler: workloads, garbage collection, scheduling."""
    KWOK = auto()
    """kwok: nodes that become ready, pods that run and Jobs that end."""
    KARPENTER = auto()
    """Karpenter with its kwok provider: nodes that come and go."""
    ALL = API | CONTROL | KWOK | KARPENTER


@dataclass(frozen=True)
class Component:
    """One program of the control plane.

    Attributes:
        name: How tests and log files call it.
        binary: Which output of the build it is.
        arguments: Its command line.
        env: Variables beyond the harmless few that every component gets.
        health: A URL on loopback that answers 200 when it works.
        part: Which part it belongs to.
    """

    name: str
    binary: str
    arguments: tuple[str, ...]
    health: str
    part: Parts
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Options:
    """What a test may choose about the programs.

    Attributes:
        karpenter: Which minor version of Karpenter, such as `1.14`; None for none.
        feature_gates: Karpenter's, such as `NodeRepair=true,StaticCapacity=true`.
        karpenter_env: More variables for Karpenter, such as `BATCH_IDLE_DURATION`.
    """

    karpenter: str | None = "1.14"
    feature_gates: str = ""
    karpenter_env: Mapping[str, str] = field(default_factory=dict)


_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "nonResourceURLs": ["/readyz*", "/livez*", "/healthz*", "/openapi/*"]},
        {"level": "Metadata"},
    ],
}


_PORTS: Final = range(15000, 32000)
_HELD: Final[list[IO[str]]] = []
"""Locks of the ports that were given out; they end with the process."""


def free_ports(count: int) -> list[int]:
    """Return different TCP ports that nobody uses on loopback, and that no other process is given while this one lives.

    They are below those that systems hand out by themselves (IANA's and Linux' ephemeral ports), or a connection of
    anybody might take one before its program does; and each is held by a lock on a file, since programs that start
    side by side would be given the same.
    """
    directory = cache_dir() / "ports"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    found: list[int] = []
    for port in random.sample(_PORTS, len(_PORTS)):
        if len(found) == count:
            break
        lock = (directory / str(port)).open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            lock.close()
        else:
            found.append(port)
            _HELD.append(lock)
    return found


def healthy(url: str) -> bool:
    """Tell whether a health endpoint on loopback answers 200; the controllers' certificates are of their own making."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(url, timeout=5) as answer:
            return bool(answer.status == HTTPStatus.OK)
    except OSError:  # refused, not there yet, or an HTTPError
        return False


def environment(directory: Path) -> dict[str, str]:
    """Return the variables that every component gets: none of the user's settings reach it.

    GOGC trades memory for time: a control plane then starts with a third less of it, for 100 MB more.
    """
    path = os.environ.get("PATH", os.defpath)
    return {"PATH": path, "HOME": str(directory), "TMPDIR": str(directory), "GOGC": "400"}


def components(directory: Path, parts: Parts, options: Options) -> dict[str, Component]:
    """Return the programs in the order of their start, on ports of their own.

    Args:
        directory: Where certificates, kubeconfig and, for kwok, `stages.yaml` are; the audit policy is written into it.
        parts: Which of them.
        options: See there.
    """
    (directory / "audit-policy.json").write_text(json.dumps(_AUDIT_POLICY))
    ports = iter(free_ports(8))  # all at once, so that they differ
    every = [
        *_api(directory, ports),
        *_control(directory, ports),
        *_kwok(directory, ports),
        *_karpenter(directory, ports, options),
    ]
    return {component.name: component for component in every if component.part in parts}


def _api(directory: Path, ports: Iterator[int]) -> list[Component]:
    clients, peers, secure = next(ports), next(ports), next(ports)
    etcd, peer = f"http://127.0.0.1:{clients}", f"http://127.0.0.1:{peers}"
    etcd_flags = (
        f"--data-dir={directory}/etcd",
        "--name=n",
        "--unsafe-no-fsync=true",
        f"--listen-client-urls={etcd}",
        f"--advertise-client-urls={etcd}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=n={peer}",
    )
    api_flags = (
        f"--etcd-servers={etcd}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        f"--secure-port={secure}",
        f"--cert-dir={directory}/apiserver",
        f"--client-ca-file={directory}/ca.crt",
        f"--tls-cert-file={directory}/server.crt",
        f"--tls-private-key-file={directory}/server.key",
        f"--service-account-key-file={directory}/sa.crt",
        f"--service-account-signing-key-file={directory}/sa.key",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--authorization-mode=RBAC",
        "--service-cluster-ip-range=10.0.0.0/16",
        "--allow-privileged",
        "--endpoint-reconciler-type=none",
        f"--audit-policy-file={directory}/audit-policy.json",
        f"--audit-log-path={directory}/audit.log",
        "--audit-log-mode=blocking",  # entries are in the file at once; it costs 0.1 ms a request
        "--audit-log-maxsize=4096",  # megabytes: no rotation under a reader
    )
    return [
        Component("etcd", "etcd", etcd_flags, f"{etcd}/health", Parts.API),
        Component("kube-apiserver", "kube-apiserver", api_flags, f"https://127.0.0.1:{secure}/readyz", Parts.API),
    ]


def _control(directory: Path, ports: Iterator[int]) -> list[Component]:
    # A port of their own: with the default one a second cluster's would end at once, and unnoticed.
    manager, scheduler = next(ports), next(ports)
    common = (f"--kubeconfig={directory}/kubeconfig", "--bind-address=127.0.0.1", "--leader-elect=false")
    manager_flags = (
        *common,
        f"--secure-port={manager}",
        f"--cert-dir={directory}/controller-manager",
        f"--root-ca-file={directory}/ca.crt",
        f"--service-account-private-key-file={directory}/sa.key",
        "--use-service-account-credentials=true",
    )
    scheduler_flags = (*common, f"--secure-port={scheduler}", f"--cert-dir={directory}/scheduler")
    health = "https://127.0.0.1:{}/healthz"
    return [
        Component(
            "kube-controller-manager", "kube-controller-manager", manager_flags, health.format(manager), Parts.CONTROL
        ),
        Component("kube-scheduler", "kube-scheduler", scheduler_flags, health.format(scheduler), Parts.CONTROL),
    ]


def _kwok(directory: Path, ports: Iterator[int]) -> list[Component]:
    port = next(ports)
    flags = (
        f"--kubeconfig={directory}/kubeconfig",
        "--manage-all-nodes=true",
        "--node-lease-duration-seconds=40",
        f"--server-address=127.0.0.1:{port}",
        f"--config={directory}/stages.yaml",
    )
    return [Component("kwok", "kwok", flags, f"http://127.0.0.1:{port}/healthz", Parts.KWOK)]


def _karpenter(directory: Path, ports: Iterator[int], options: Options) -> list[Component]:
    if options.karpenter is None:
        return []
    metrics, probes = next(ports), next(ports)
    env = {"KUBECONFIG": f"{directory}/kubeconfig", "LOG_LEVEL": "debug"}
    if options.feature_gates:
        env["FEATURE_GATES"] = options.feature_gates
    flags = ("--disable-leader-election", f"--metrics-port={metrics}", f"--health-probe-port={probes}")
    health = f"http://127.0.0.1:{probes}/healthz"
    binary = f"karpenter-{options.karpenter}"
    return [Component("karpenter", binary, flags, health, Parts.KARPENTER, {**env, **options.karpenter_env})]

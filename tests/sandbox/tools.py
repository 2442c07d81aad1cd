"""Which programs the control plane is made of, and which versions of them: read from the wrapper modules' go.mod."""

import hashlib
import platform
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

MODULES = Path(__file__).parent / "tools"

# -s -w: no symbol table, a third smaller. The same flags for everyone, so that Go's build cache is shared.
LINK_FLAGS = ("-s", "-w")
GO_ENV = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly -buildvcs=false"}


@dataclass(frozen=True)
class Tool:
    """A wrapper module (a go.mod and a go.sum, no code) and what is made from it.

    Attributes:
        name: Its directory below `tools`.
        module: The Go module whose version counts as the tool's version.
        binaries: Output name to Go package. Names are explicit: etcd's package would be called `server`,
            and kwok and Karpenter's kwok provider both `kwok`.
        variables: Go variables that carry the version, with `{version}`, `{major}` and `{minor}` filled in.
        files: Output directory to the globs, inside the module, of the files copied into it.
    """

    name: str
    module: str
    binaries: Mapping[str, str]
    variables: tuple[str, ...] = ()
    files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def directory(self) -> Path:
        return MODULES / self.name

    @cached_property
    def version(self) -> str:
        """The pinned version, without the leading v."""
        text = (self.directory / "go.mod").read_text()
        found = re.search(rf"^\s*(?:require )?{re.escape(self.module)} v(\S+)", text, re.MULTILINE)
        if found is None:
            raise ValueError(f"{self.directory}/go.mod requires no {self.module}")
        return found[1]

    @property
    def title(self) -> str:
        """What people read: `karpenter 1.14.1`."""
        return f"{self.name.partition('-')[0]} {self.version}"

    @property
    def outputs(self) -> tuple[str, ...]:
        return (*self.binaries, *self.files)

    @property
    def ldflags(self) -> str:
        major, minor, *_ = self.version.split(".")
        filled = (text.format(version=self.version, major=major, minor=minor) for text in self.variables)
        return " ".join((*LINK_FLAGS, *(f"-X {text}" for text in filled)))

    @cached_property
    def digest(self) -> str:
        """Names the result in the cache: it changes with whatever the result depends on, except the toolchain."""
        parts = [(self.directory / name).read_bytes() for name in ("go.mod", "go.sum")]
        parts += [repr(part).encode() for part in (self.ldflags, GO_ENV, self.binaries, self.files)]
        parts.append(f"{sys.platform} {platform.machine()}".encode())
        return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def _karpenter(release: str) -> Tool:
    return Tool(
        f"karpenter-{release}",
        "sigs.k8s.io/karpenter",
        {f"karpenter-{release}": "sigs.k8s.io/karpenter/kwok"},
        ("sigs.k8s.io/karpenter/pkg/operator.Version={version}",),
        {f"karpenter-{release}-crds": ("pkg/apis/crds/*.yaml", "kwok/apis/crds/*.yaml")},
    )


# The general pod-complete stage takes its delay from annotations; the fast one ends Jobs before anyone can look.
_STAGES = (
    "node/fast/node-initialize",
    "node/heartbeat-with-lease/node-heartbeat-with-lease",
    "node/chaos/node-not-ready",
    "pod/fast/pod-ready",
    "pod/fast/pod-delete",
    "pod/general/pod-complete",
    "pod/chaos/pod-container-running-failed",
)
_VERSION = "k8s.io/component-base/version"

TOOLS = (
    Tool("etcd", "go.etcd.io/etcd/server/v3", {"etcd": "go.etcd.io/etcd/server/v3"}),
    Tool(
        "kubernetes",
        "k8s.io/kubernetes",
        {
            name: f"k8s.io/kubernetes/cmd/{name}"
            for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
        },
        (f"{_VERSION}.gitVersion=v{{version}}", f"{_VERSION}.gitMajor={{major}}", f"{_VERSION}.gitMinor={{minor}}"),
    ),
    Tool(
        "kwok",
        "sigs.k8s.io/kwok",
        {"kwok": "sigs.k8s.io/kwok/cmd/kwok"},
        files={"kwok-stages": tuple(f"kustomize/stage/{name}.yaml" for name in _STAGES)},
    ),
    _karpenter("1.14"),
    Tool(
        "helm",
        "helm.sh/helm/v4",
        {"helm": "helm.sh/helm/v4/cmd/helm"},
        ("helm.sh/helm/v4/internal/version.version=v{version}",),
    ),
    _karpenter("1.15"),
    Tool(
        "kubescore",
        "github.com/zegl/kube-score",
        {"kube-score": "github.com/zegl/kube-score/cmd/kube-score"},
        ("main.version={version}",),
    ),
)
# What the demo runs: one Karpenter is enough there, and spares two minutes.
DEMO = tuple(tool for tool in TOOLS if tool.name not in {"karpenter-1.15", "kubescore"})
# No part of the control plane: what the benchmarks measure against. Built only on their request.
PEERS = (
    Tool(
        "kro",
        "github.com/kubernetes-sigs/kro",
        {"kro": "github.com/kubernetes-sigs/kro/cmd/controller"},
        files={"kro-crds": ("helm/crds/*.yaml",)},
    ),
)


def tool_of(output: str) -> Tool:
    """Return the tool that makes a binary or a directory of files."""
    for tool in (*TOOLS, *PEERS):
        if output in tool.outputs:
            return tool
    raise KeyError(output)

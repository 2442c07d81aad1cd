"""The pages that promise it are followed, command by command, on a real control plane."""

from collections.abc import AsyncIterator

import pytest

from e2e.walkthrough import Reader, Step, missing, steps
from harness.installation import DEPLOY, ROOT
from sandbox import Cluster, cluster

TUTORIAL = ROOT / "docs" / "tutorial.md"
PATCH = ROOT / "docs" / "how-to" / "patch-nodes.md"
PAGE = """\
# Page

```console
$ echo one \\
    two
one two
$ false
```

<!-- exit 1 -->
```console
$ true
$ plan
1 change, …
```

```sh
not this
```
"""


def test_a_page_is_read() -> None:
    assert list(steps(PAGE)) == [
        Step("echo one \\\n    two", ("one two",)),
        Step("false", ()),
        Step("true", ()),
        Step("plan", ("1 change, …",), code=1),
    ]


@pytest.mark.parametrize(
    ("printed", "lacks"),
    [
        ("a  b\nx\nc 1 d\n", None),
        ("c 1 d\na b\n", "c … d"),  # in another order
        ("a b\nc 1\n", "c … d"),
        ("a b c\nc 1 d\n", "a b"),
    ],
)
def test_what_is_printed_is_compared(printed: str, lacks: str | None) -> None:
    assert missing(["a b", "c … d"], printed) == lacks


@pytest.fixture(scope="module")
async def fresh() -> AsyncIterator[Cluster]:
    """What `make cluster` starts."""
    async with cluster() as running:
        yield running


@pytest.fixture(scope="module")
async def reader(fresh: Cluster) -> AsyncIterator[Reader]:
    async with Reader(fresh) as it:
        yield it


@pytest.mark.timeout(900)
async def test_tutorial(reader: Reader) -> None:
    assert await reader.follow(TUTORIAL.read_text()) > 20


@pytest.mark.timeout(900)
async def test_nodes_are_patched_by_hand(reader: Reader, fresh: Cluster) -> None:
    """What the tutorial has left is taken over again, and its only server gets another node."""
    sample = (DEPLOY / "samples" / "quickstart.yaml").read_text()
    fresh.apply(f"{sample}\n  takeOver: IfNoDiff\n")
    ready = fresh.kubectl("wait", "--for=condition=Ready", "cap/production", "--timeout=5m")
    assert ready.returncode == 0, ready.stderr
    old = set(_server_claims(fresh))
    assert len(old) == 1
    assert await reader.follow(PATCH.read_text()) == 6
    new = set(_server_claims(fresh))
    assert len(new) == 1
    assert not old & new


def test_the_vendors_node_pools_are_refused(fresh: Cluster) -> None:
    """As printed on the page: Karpenter's definition demands requirements."""
    printed = """\
apiVersion: karpenter.sh/v1
kind: NodePool
metadata: {name: printed}
spec:
  disruption: {consolidationPolicy: WhenEmpty, consolidateAfter: 1m}
  template:
    metadata: {labels: {workload: connect-server}}
    spec:
      taints: [{key: workload, value: connect-server, effect: NoSchedule}]
      nodeClassRef: {name: default, kind: EC2NodeClass, group: karpenter.k8s.aws}
"""
    refused = fresh.kubectl("create", "-f", "-", input=printed)
    assert refused.returncode == 1
    assert "spec.template.spec.requirements: Required value" in refused.stderr


def _server_claims(running: Cluster) -> list[str]:
    found = running.kubectl("get", "nodeclaims", "-l", "karpenter.sh/nodepool=connect-server", "-o", "name")
    assert found.returncode == 0, found.stderr
    return found.stdout.split()

"""Values on either side of every pattern in the spec."""

from typing import Any

from crd_schema import POOLS
from profile_specs import FULL, Spec, with_value

Values = tuple[tuple[Any, ...], tuple[Any, ...]]

DNS = (("default", "a.b-c.9", "0"), ("Default", "a_b", "-a", "a-", "a..b", ".a", "a/b", "a b", "ä"))
DNS_LABEL = (("posit", "a-1"), ("Posit", "a.b", "-a", "a_b"))
KEY = (
    ("a", "example.com/Team_1.x-y", f"a/{'n' * 63}"),
    ("-a", "a-", "a/b/c", "Example.com/a", "/a", "a/", "a b", "n" * 64, "ä"),
)
VALUE = (("a", "A.b_c-1", "1"), ("a b", "-a", "a-", "a/b", "ä"))
EMPTY_VALUE = ((*VALUE[0], ""), VALUE[1])
DURATION_BAD = ("", "5", "1d", "1.5h", "500ms", "-1h", " 1h", "1h ", "1h30", "never", "100000h", "1h1h1h1h1h", "h")
DURATION = (("90s", "1h30m", "0h90m30s", "1h1h"), (*DURATION_BAD, "Never"))
DURATION_OR_NEVER = (("90s", "1h30m", "99999h", "8h0m0s", "Never"), DURATION_BAD)
CRON = (
    ("0 9 * * 1-5", "*/15 0-8 1,15 JAN,JUL MON-FRI", "0  3 ? * ?", "@daily", "@hourly"),
    ("9 x y z w", "0 9 * *", "0 9 * * * *", "@reboot", "@every 5m", "@daily ", "0 9 * * monday", "TZ=UTC 0 9 * * *"),
)
HOSTS = (
    "example.com", "charts.example.com:8443/a/b_c~d%20", "127.0.0.1:8080/charts/", "[::1]:80/a",
)  # fmt: skip
BAD_HOSTS = ("", "user:secret@example.com/a", "example.com/a?token=secret", "example.com/a#b", "example.com/a b")

_POOL: dict[str, Values] = {
    "name": DNS,
    "nodeClassRef.group": DNS,
    "nodeClassRef.kind": (("EC2NodeClass", "a"), ("EC2/NodeClass", "1a", "a-", "a b")),
    "nodeClassRef.name": DNS,
    "requirements[].key": KEY,
    "requirements[].values[]": EMPTY_VALUE,
    "disruption.consolidateAfter": DURATION_OR_NEVER,
    "disruption.budgets[].nodes": (
        ("0", "7", "999999", "0%", "33%", "100%"),
        ("", "-1", "101%", "1.5", "ten", "10 %", "1000000"),
    ),
    "disruption.budgets[].schedule": CRON,
    "disruption.budgets[].duration": (
        ("8h", "30m", "1h30m", "8h0m0s", "30m0s"),
        ("30s", "30m1h", "1h30s", "Never", "8"),
    ),
    "expireAfter": DURATION_OR_NEVER,
    "terminationGracePeriod": DURATION,
    "labels{}": EMPTY_VALUE,
    "taints[].key": KEY,
    "taints[].value": VALUE,
    "startupTaints[].key": KEY,
    "startupTaints[].value": VALUE,
    "limits{}": (
        ("64", "0", "500m", "1.5", ".5", "256Gi", "1e3", "+1", "1E", 0, 2**53 - 1),
        ("-1", "1 Gi", "1gi", "1e", "1e100", "one", "1i", ""),
    ),
}

_SPEC: dict[str, Values] = {
    "interval": (("90s", "5m", "0h30m"), (*DURATION_BAD, "Never")),
    "nodeClassRef.group": DNS,
    "nodeClassRef.kind": _POOL["nodeClassRef.kind"],
    "nodeClassRef.name": DNS,
    "placement.labelKey": KEY,
    "placement.server": VALUE,
    "placement.content": VALUE,
    "server.topologySpread[].topologyKey": KEY,
    "content.topologySpread[].topologyKey": KEY,
    "content.renderedDoNotDisrupt": ((*DURATION[0], "true"), (*DURATION[1], "True", "false")),
    "release.namespace": DNS_LABEL,
    "release.name": DNS,
    "release.chart.repository": (
        tuple(f"{scheme}://{host}" for scheme in ("http", "https") for host in HOSTS),
        (*(f"https://{host}" for host in BAD_HOSTS), "example.com", "ftp://example.com", "file:///charts"),
    ),
    "release.chart.oci": (
        ("oci://example.com/a", "oci://127.0.0.1:5000/charts/rstudio-connect"),
        (
            *(f"oci://{host}" for host in BAD_HOSTS),
            "oci://example.com",
            "oci://example.com/a:1.0",
            "https://example.com/a",
        ),
    ),
    "release.chart.path": (("rstudio-connect", "a/b-0.21.0.tgz", "."), ("/a", "a/", "a//b", "a b", "~/a")),
    "release.chart.secretName": DNS,
    "release.serviceAccountName": DNS,
    "release.timeout": DURATION,
    "disruptions.windows[].schedule": CRON,
    "disruptions.windows[].duration": DURATION,
    "disruptions.windows[].timeZone": (
        ("UTC", "Etc/UTC", "Etc/GMT+3", "America/Argentina/Buenos_Aires", "America/Port-au-Prince"),
        ("+01:00", "Europe Berlin", "/UTC", "a/b/c/d", "Europe/"),
    ),
    "driftPolicy.ignore[].target.name": DNS,
    "driftPolicy.ignore[].paths[]": (
        ("/spec/weight", "/", "/a~1b/~0/0", "/tolerations[key=workload]"),
        ("spec/weight", "/a~2", "/a~", "spec.weight"),
    ),
    "connectAPI.secretName": DNS,
    **{f"{pool}.{path}": values for pool in POOLS for path, values in _POOL.items()},
}
# The server pool refuses every value of it.
del _SPEC["serverPool.terminationGracePeriod"]


def _base(path: str) -> Spec:
    if path in {"release.chart.oci", "release.chart.path"}:
        return with_value(FULL, "release.chart", {})
    return FULL


PATTERNS = {f"spec.{path}": (_base(path), *values) for path, values in _SPEC.items()}
"""Path in the CRD: a spec in which to put the values, those to accept, those to refuse."""

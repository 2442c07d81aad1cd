"""The stand-in chart keeps the contract of the vendor's chart.

`CONNECT_CHART` names a folder or an archive of the vendor's chart: every test then runs on that one as well,
and the last ones compare the two.
"""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from integration import chart_cases as cases
from integration.charts import Chart, Values, template
from sandbox.build import find

STAND_IN = Path(__file__).parents[1] / "charts" / "rstudio-connect"
VENDOR = os.environ.get("CONNECT_CHART", "")
CHARTS = {"stand-in": STAND_IN} | ({"vendor": Path(VENDOR).resolve()} if VENDOR else {})


@pytest.fixture(scope="session")
def helm() -> Path:
    return find("helm")


@pytest.fixture(scope="module", params=list(CHARTS.values()), ids=list(CHARTS))
def chart(request: pytest.FixtureRequest, helm: Path) -> Chart:
    return Chart(helm, request.param)


def test_name_and_versions(chart: Chart) -> None:
    command = [str(chart.helm), "show", "chart", str(chart.path)]
    shown = yaml.safe_load(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert (shown["name"], shown["version"], shown["appVersion"]) == ("rstudio-connect", "0.21.0", "2026.08.0")


def test_objects(chart: Chart) -> None:
    base = chart.render()
    usual = ["ConfigMap", "ConfigMap", "Deployment", "PersistentVolumeClaim"]
    usual += ["Role", "RoleBinding", "Secret", "Service", "ServiceAccount"]
    assert base.kinds == usual
    suffixes = {name.removeprefix("connect-rstudio-connect") for _, name in base.objects}
    assert suffixes == {"", "-config", "-license", "-prestart", "-shared-storage"}
    extra = {"extraObjects": [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "{{ .Release.Name }}-extra"}}]}
    assert set(chart.render(cases.PDB, extra).objects) - set(base.objects) == {
        ("PodDisruptionBudget", "connect-rstudio-connect"),
        ("Pod", "connect-extra"),
    }
    claim = base.only("PersistentVolumeClaim")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert not any("helm.sh/hook" in text for text in (base.text, chart.render(cases.OVERLAY).text))


def test_server(chart: Chart) -> None:
    rendered = chart.render()
    assert "labels" not in rendered.deployment["metadata"]
    assert rendered.deployment["metadata"]["namespace"] == "posit"
    spec = rendered.deployment["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "100%", "maxUnavailable": 0}}
    labels = {"app.kubernetes.io/name": "rstudio-connect", "app.kubernetes.io/instance": "connect"}
    assert spec["selector"]["matchLabels"] == rendered.template["metadata"]["labels"] == labels
    assert {"checksum/config", "checksum/config-prestart"} < rendered.template["metadata"]["annotations"].keys()
    assert rendered.template["spec"]["terminationGracePeriodSeconds"] == 120
    assert rendered.container["image"] == "posit/connect:2026.08.0-ubuntu-24.04"
    assert rendered.container["readinessProbe"]["httpGet"] == {"path": "/__ping__", "port": 3939}
    assert not {"livenessProbe", "startupProbe", "resources"} & rendered.container.keys()
    mounted = {mount["mountPath"]: mount.get("subPath") for mount in rendered.container["volumeMounts"]}
    assert mounted == {
        "/etc/rstudio-connect/rstudio-connect.gcfg": "rstudio-connect.gcfg",
        "/etc/rstudio-connect/job.yaml": "job.yaml",
        "/scripts/": None,
        "/var/lib/rstudio-connect": None,
    }


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ({"image": {"os": "rhel-9"}}, "posit/connect:2026.08.0-rhel-9"),
        ({"image": {"tag": "ubuntu2204-2026.03.1"}}, "posit/connect:ubuntu2204-2026.03.1"),
        (
            {"image": {"repository": "mirror/connect"}, "versionOverride": "2026.04.1"},
            "mirror/connect:2026.04.1-ubuntu-24.04",
        ),
    ],
    ids=["os", "tag", "repository"],
)
def test_image(chart: Chart, image: Values, expected: str) -> None:
    assert chart.render(image).container["image"] == expected


def test_overlay_reaches_every_place(chart: Chart) -> None:
    rendered = chart.render(cases.OVERLAY)
    assert rendered.template["spec"]["tolerations"] == [cases.TOLERATION]
    assert rendered.template["spec"]["nodeSelector"] == {"workload": "connect-server"}
    assert rendered.template["metadata"]["annotations"]["karpenter.sh/do-not-disrupt"] == "true"
    assert (rendered.job["apiVersion"], rendered.job["kind"]) == ("batch/v1", "Job")
    assert rendered.job_spec == {
        "nodeSelector": {"workload": "connect-content"},
        "topologySpreadConstraints": [cases.SPREAD],
        "initContainers": [
            {
                "name": "connect-content-init",
                "image": "posit/connect-content-init:2026.08.0",
                "volumeMounts": [{"name": "rsc-volume", "mountPath": "/mnt/rstudio-connect-runtime/"}],
            }
        ],
        "containers": [
            {
                "name": "connect-content",
                "volumeMounts": [{"name": "rsc-volume", "mountPath": "/opt/rstudio-connect-runtime"}],
            }
        ],
        "volumes": [{"name": "rsc-volume", "emptyDir": {}}],
    }
    assert rendered.gcfg["Kubernetes"] == [
        "ConnectRuntimeDir = /opt/rstudio-connect-runtime",
        "DataDirPVCName = connect-rstudio-connect-shared-storage",
        "DefaultResourceJobBase = /etc/rstudio-connect/job.yaml",
        "Enabled = true",
        "Namespace = posit",
        "RenderedContentAnnotation = karpenter.sh/do-not-disrupt=true",
    ]


def test_overlay_as_a_second_file_replaces_lists(chart: Chart) -> None:
    mine = {
        "tolerations": [{"key": "team", "operator": "Exists"}],
        "nodeSelector": {"disktype": "ssd"},
        **cases.kubernetes(RenderedContentAnnotation=["example.com/team=a"]),
    }
    rendered = chart.render(mine, cases.OVERLAY)
    assert rendered.template["spec"]["tolerations"] == [cases.TOLERATION]
    assert rendered.template["spec"]["nodeSelector"] == {"disktype": "ssd", "workload": "connect-server"}
    assert "example.com/team=a" not in rendered.text


@pytest.mark.parametrize("values", cases.RESTARTING.values(), ids=cases.RESTARTING)
def test_restarts_the_server(chart: Chart, values: Values) -> None:
    assert chart.render(values).template != chart.render().template


@pytest.mark.parametrize("values", cases.CONFIGURING.values(), ids=cases.CONFIGURING)
def test_restarts_the_server_by_its_checksum_alone(chart: Chart, values: Values) -> None:
    before, after = chart.render().template, chart.render(values).template
    assert before["spec"] == after["spec"]
    annotations = before["metadata"]["annotations"].items() ^ after["metadata"]["annotations"].items()
    assert {key for key, _ in annotations} == {"checksum/config"}


@pytest.mark.parametrize("values", cases.QUIET.values(), ids=cases.QUIET)
def test_does_not_restart_the_server(chart: Chart, values: Values) -> None:
    before, after = chart.render(), chart.render(values)
    assert before.template == after.template
    assert before.objects != after.objects


@pytest.mark.parametrize("values", cases.INERT.values(), ids=cases.INERT)
def test_is_read_by_nothing(chart: Chart, values: Values) -> None:
    assert chart.render().text == chart.render(values).text


def test_recreate_has_no_rolling_update(chart: Chart) -> None:
    assert chart.render(cases.QUIET["strategy"]).deployment["spec"]["strategy"] == {"type": "Recreate"}


@pytest.mark.parametrize(("values", "named"), cases.REFUSED.values(), ids=cases.REFUSED)
def test_refuses(chart: Chart, values: Values, named: str) -> None:
    refusal = chart.refusal(values)
    assert named in refusal
    assert "execution error at (rstudio-connect/templates/" in refusal or "nil pointer" in refusal


@pytest.mark.parametrize(
    ("given", "lines"),
    [
        (["a=b"], ["RenderedContentAnnotation = a=b"]),
        ("a=b", ["RenderedContentAnnotation = a=b"]),
        (["a=b", "c=d"], ["RenderedContentAnnotation = a=b", "RenderedContentAnnotation = c=d"]),
        ([], []),
        (None, ["RenderedContentAnnotation = "]),
        ({"a": "b"}, ["RenderedContentAnnotation = map[a:b]"]),
        (1048576, ["RenderedContentAnnotation = 1.048576e+06"]),
    ],
    ids=["list", "scalar", "two", "none", "null", "map", "large integer"],
)
def test_a_setting_becomes_lines(chart: Chart, given: object, lines: list[str]) -> None:
    section = chart.render(cases.kubernetes(RenderedContentAnnotation=given)).gcfg["Kubernetes"]
    assert [line for line in section if line.startswith("RenderedContentAnnotation")] == lines


def test_user_settings_win_key_by_key(chart: Chart) -> None:
    own = cases.kubernetes(DataDirPVCName="mine", ConnectRuntimeDir="", DefaultResourceJobBase="/etc/other.yaml")
    rendered = chart.render(own, {"config": {"Python": {"Executable": ["/a", "/b"]}}})
    assert rendered.gcfg["Kubernetes"] == [
        "ConnectRuntimeDir = /opt/rstudio-connect-runtime",
        "DataDirPVCName = mine",
        "DefaultResourceJobBase = /etc/other.yaml",
        "Enabled = true",
        "Namespace = posit",
    ]
    assert rendered.gcfg["Python"] == ["Enabled = true", "Executable = /a", "Executable = /b"]
    assert {"name": "job.yaml", "path": "/etc/other.yaml"} in [
        {"name": mount.get("subPath"), "path": mount["mountPath"]} for mount in rendered.container["volumeMounts"]
    ]
    assert (
        chart.render(cases.kubernetes(DataDirPVCName="mine"), cases.NO_STORAGE).gcfg["Kubernetes"][1]
        == "DataDirPVCName = mine"
    )


def test_job_base_of_the_user_is_completed(chart: Chart) -> None:
    spec = chart.render(cases.OWN_BASE).job_spec
    assert [container["name"] for container in spec["initContainers"]] == ["prepare", "connect-content-init"]
    assert [container["name"] for container in spec["containers"]] == ["connect-content", "proxy"]
    assert spec["initContainers"][1]["image"] == "mirror/init:1"
    assert spec["initContainers"][1]["volumeMounts"][0]["mountPath"] == "/mnt/rstudio-connect-runtime/"
    assert spec["containers"][0] == {
        "name": "connect-content",
        "env": [{"name": "A", "value": "b"}],
        "volumeMounts": [{"name": "rsc-volume", "mountPath": "/opt/rstudio-connect-runtime"}],
    }
    assert spec["volumes"] == [
        {"name": "rsc-volume", "emptyDir": {"medium": "Memory"}},
        {"name": "own", "emptyDir": {}},
    ]
    assert spec["serviceAccountName"] == "content"


def test_job_base_passes_through_without_the_init_container(chart: Chart) -> None:
    rendered = chart.render(cases.OVERLAY, cases.backend(defaultInitContainer={"enabled": False}))
    base = cases.OVERLAY["backends"]["kubernetes"]["defaultResourceJobBase"]
    assert rendered.job == {"apiVersion": "batch/v1", "kind": "Job", **base}
    assert not any(line.startswith("ConnectRuntimeDir") for line in rendered.gcfg["Kubernetes"])


def test_content_namespace(chart: Chart) -> None:
    rendered = chart.render(cases.backend(namespace="content"))
    assert "Namespace = content" in rendered.gcfg["Kubernetes"]
    namespaces = {kind: entry["metadata"]["namespace"] for (kind, _), entry in rendered.objects.items()}
    assert namespaces["Role"] == namespaces["RoleBinding"] == "content"
    assert namespaces["ServiceAccount"] == namespaces["Deployment"] == "posit"


def test_local_execution_has_no_rights_and_no_job_base(chart: Chart) -> None:
    rendered = chart.render(cases.LOCAL)
    assert not {"Role", "RoleBinding", "ServiceAccount"} & set(rendered.kinds)
    assert "job.yaml" not in rendered.config
    assert rendered.gcfg["Kubernetes"] == []
    assert "checksum/config-prestart" not in rendered.template["metadata"]["annotations"]
    assert "args" not in rendered.container


def test_launcher(chart: Chart) -> None:
    rendered = chart.render(cases.LAUNCHER)
    assert "job.yaml" not in rendered.config
    assert {"Enabled = true", "KubernetesNamespace = posit"} < set(rendered.gcfg["Launcher"])
    assert "checksum/config-prestart" in rendered.template["metadata"]["annotations"]


@pytest.mark.parametrize(
    ("release", "values", "fullname", "name"),
    [
        ("connect", {}, "connect-rstudio-connect", "rstudio-connect"),
        ("my-rstudio-connect", {}, "my-rstudio-connect", "rstudio-connect"),
        ("connect", {"nameOverride": "rsc"}, "connect-rsc", "rsc"),
        ("rsc-prod", {"nameOverride": "rsc"}, "rsc-prod", "rsc"),
        ("connect", {"fullnameOverride": "posit"}, "posit", "rstudio-connect"),
        ("connect", {"fullnameOverride": "x" * 70}, "x" * 63, "rstudio-connect"),
    ],
)
def test_names(chart: Chart, release: str, values: Values, fullname: str, name: str) -> None:
    rendered = chart.render(values, release=release)
    assert rendered.deployment["metadata"]["name"] == fullname
    assert all(of.startswith(fullname) for _, of in rendered.objects)
    assert f"DataDirPVCName = {fullname}-shared-storage" in rendered.gcfg["Kubernetes"]
    labels = {"app.kubernetes.io/name": name, "app.kubernetes.io/instance": release}
    assert rendered.deployment["spec"]["selector"]["matchLabels"] == labels
    assert rendered.template["metadata"]["labels"] == rendered.only("Service")["spec"]["selector"] == labels


def test_same_values_give_the_same_bytes(chart: Chart) -> None:
    first = chart.render(cases.OVERLAY, cases.OWN_BASE).text
    template.cache_clear()
    assert chart.render(cases.OVERLAY, cases.OWN_BASE).text == first


@pytest.mark.skipif("vendor" not in CHARTS, reason="CONNECT_CHART names no chart of the vendor")
@pytest.mark.parametrize("layers", cases.ALIKE.values(), ids=cases.ALIKE)
def test_stand_in_and_vendor_agree(helm: Path, layers: tuple[Values, ...]) -> None:
    ours, theirs = (Chart(helm, path).render(*layers) for path in CHARTS.values())
    assert ours.contract == theirs.contract

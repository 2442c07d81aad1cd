"""The command line without a cluster: help, completion, explanations, rendering, and what is wrong with a file."""

import json
import os
import subprocess
import sys
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.shell_completion import BashComplete
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

from connect_autoscaler.__main__ import main
from connect_autoscaler.api.conditions import Reason
from connect_autoscaler.cli.bundle import redacted, text
from connect_autoscaler.cli.cluster import Access
from connect_autoscaler.cli.errors import CliError, near
from connect_autoscaler.cli.files import read, written
from connect_autoscaler.cli.group import COMPLETE, NAME, VERBS
from connect_autoscaler.cli.render import KARPENTERS
from connect_autoscaler.cli.verb import ago, colour, console
from profile_specs import FULL, SMALLEST, profile
from unit.builders import KARPENTER_1_14, KARPENTER_1_15

ROOT = Path(__file__).parents[2]
MARKER = "MARKER-SECRET-cli"


def call(*arguments: str | Path, stdin: str | None = None) -> Result:
    """Call a verb in this process; nothing but an exit may come of it."""
    done = CliRunner().invoke(main, [str(each) for each in arguments], input=stdin)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


@pytest.fixture
def smallest(tmp_path: Path) -> Path:
    return saved(tmp_path, SMALLEST)


def saved(folder: Path, spec: dict[str, Any]) -> Path:
    path = folder / "profile.yaml"
    path.write_text(yaml.safe_dump(profile(spec), sort_keys=False))
    return path


def pages() -> dict[str, str]:
    """The help of the group and of every verb."""
    return {name: call(*name.split(), "--help").output for name in ("", *VERBS, "run")}


def test_help_fits_a_terminal() -> None:
    assert [line for page in pages().values() for line in page.splitlines() if len(line) > 80] == []


def test_the_list_of_verbs_is_whole_sentences() -> None:
    assert "..." not in call("--help").output.partition("Commands:")[2]


def test_every_verb_is_there_and_says_its_exit_codes() -> None:
    context = click.Context(main)
    assert set(main.list_commands(context)) == {*VERBS, "run"}
    quiet = {"completion", "events", "explain"}
    told = {name for name, page in pages().items() if "Exit code: 0" in " ".join(page.split())}
    assert told == set(VERBS) - quiet


def test_an_unknown_verb_is_an_error() -> None:
    done = call("stauts")
    assert (done.exit_code, "No such command 'stauts'" in done.stderr) == (2, True)


def test_the_operator_imports_nothing_of_the_verbs() -> None:
    """Its memory is measured: what only people need is loaded when they call. Kopf itself looks for pykube."""
    code = (
        "import sys; import connect_autoscaler.__main__, connect_autoscaler.runner;"
        "print([m for m in ('rich', 'pygments', 'connect_autoscaler.cli.verb', 'connect_autoscaler.cli.cluster')"
        " if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


LIKE_THE_OPERATOR = {"check", "plan", "uninstall", "render", "export"}
"""Verbs that decide or render as it does, and so need its libraries."""
TYPING = """
import sys
from click.shell_completion import BashComplete
from connect_autoscaler.__main__ import main
from connect_autoscaler.cli.group import COMPLETE, NAME
for words in (["--help"], ["run", "--help"], ["--version"]):
    main(words, standalone_mode=False)
assert BashComplete(main, {}, NAME, COMPLETE).get_completions([], "st")
print([name for name in ("kopf", "kubernetes", "pydantic", "requests", "rich") if name in sys.modules], file=sys.stderr)
"""
CALLING = f"""
import importlib, sys
from connect_autoscaler.cli.group import VERBS
for name, verb in VERBS.items():
    if name not in {LIKE_THE_OPERATOR}:
        importlib.import_module("connect_autoscaler.cli." + verb.module)
heavy = ("kopf", "kubernetes", "aiohttp", "posit", "prometheus_client")
print([name for name in heavy if name in sys.modules], file=sys.stderr)
"""


@pytest.mark.parametrize("code", [TYPING, CALLING], ids=["help and completion", "verbs"])
def test_nobody_waits_for_what_only_the_operator_needs(code: str) -> None:
    """Kopf and the clients of Kubernetes and Connect take more than a second to import."""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stderr.strip() == "[]"


def test_the_list_of_verbs_says_what_they_say() -> None:
    context = click.Context(main)
    commands = {name: main.get_command(context, name) for name in VERBS}
    assert {name: command.get_short_help_str(80) for name, command in commands.items() if command} == {
        name: verb.help for name, verb in VERBS.items()
    }


def test_kubectl_finds_it_as_a_plugin() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert set(scripts) == {"connect-autoscaler", "kubectl-connect_autoscaler"}
    plugin = Path(sys.executable).with_name("kubectl-connect_autoscaler")
    ran = subprocess.run([plugin, "status", "--help"], capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("Usage: kubectl connect-autoscaler status")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_for_the_name_on_the_path(shell: str) -> None:
    script = call("completion", shell).output
    assert "_CONNECT_AUTOSCALER_COMPLETE" in script
    assert "connect-autoscaler" in script
    assert call("completion", "tcsh").exit_code == 2


def test_completion_offers_verbs_and_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nonexistent")
    completer = BashComplete(main, {}, NAME, COMPLETE)

    def offers(*words: str) -> set[str]:
        *args, incomplete = words
        return {item.value for item in completer.get_completions(args, incomplete)}

    assert offers("su") == {"suspend", "support-bundle"}
    assert offers("explain", "Drift") == {"DriftDetected"}
    assert offers("status", "prod") == set(), "no cluster is no error"


def test_explain_knows_every_reason() -> None:
    for reason in Reason:
        assert call("explain", reason.lower()).output == f"{reason}: {reason.explain}\n"
    listed = json.loads(call("explain", "-o", "json").output)
    assert {each["reason"] for each in listed} > set(Reason)


def test_explain_suggests() -> None:
    typo = call("explain", "NodeClasNotFound")
    assert typo.exit_code == 2
    assert "There is no reason NodeClasNotFound; did you mean NodeClassNotFound" in typo.stderr
    assert "explain without a word lists all of them" in call("explain", "xyzzy").stderr


def test_karpenters_are_those_of_the_tests() -> None:
    assert KARPENTERS["1.14"] == KARPENTER_1_14
    assert KARPENTERS["1.15"] == KARPENTER_1_15


def test_render_writes_node_pools(smallest: Path) -> None:
    bodies = list(yaml.safe_load_all(call("render", "-f", smallest).output))
    golden = yaml.safe_load((ROOT / "tests/unit/golden/smallest-karpenter-1.15.yaml").read_text())["nodePools"]
    assert [each["spec"] for each in bodies] == [each["spec"] for each in golden]
    assert all("annotations" not in each["metadata"] for each in bodies), "there is no uid to name yet"
    older = list(yaml.safe_load_all(call("render", "-f", smallest, "--karpenter", "1.14").output))
    assert older != bodies
    assert json.loads(call("render", "-f", smallest, "-o", "json").output)["items"] == bodies
    assert call("render", "-f", smallest, "-o", "name").output.splitlines() == [
        "nodepool.karpenter.sh/connect-server",
        "nodepool.karpenter.sh/connect-content",
    ]


def test_render_refuses_what_no_node_can_meet(tmp_path: Path) -> None:
    arm = {"key": "kubernetes.io/arch", "operator": "In", "values": ["arm64"]}
    both = [arm, {**arm, "values": ["amd64"]}]
    done = call("render", "-f", saved(tmp_path, {**SMALLEST, "contentPool": {"requirements": both}}))
    assert done.exit_code == 2
    assert "no node can meet the requirements on kubernetes.io/arch" in done.stderr


def test_export_writes_values(tmp_path: Path) -> None:
    file = saved(tmp_path, {**SMALLEST, "release": {"namespace": "posit", "name": "connect"}})
    values = yaml.safe_load(call("export", "-f", file).output)
    assert values["nodeSelector"] == {"workload": "connect-server"}
    assert json.loads(call("export", "-f", file, "-o", "json").output) == values
    own = tmp_path / "values.yaml"
    own.write_text(yaml.safe_dump({"tolerations": [{"key": "own", "operator": "Exists"}], "license": {"key": MARKER}}))
    merged = call("export", "-f", file, "--values", own)
    assert [each["key"] for each in yaml.safe_load(merged.output)["tolerations"]] == ["own", "workload"]
    assert MARKER not in merged.output
    own.write_text("nodeSelector: {workload: batch}")
    refused = call("export", "-f", file, "--values", own)
    assert (refused.exit_code, "makes the overlay impossible at /nodeSelector/workload" in refused.stderr) == (2, True)
    own.write_text("a: [")
    assert "line 1 is no YAML" in call("export", "-f", file, "--values", own).stderr
    for wrong in ("[a]", "[" * 5000 + "]" * 5000, "a: " + "[" * 150 + "]" * 150):
        own.write_text(wrong)
        assert "must be a map of Helm values, nested 100 levels" in call("export", "-f", file, "--values", own).stderr


def test_export_needs_a_release(smallest: Path) -> None:
    done = call("export", "-f", smallest)
    assert (done.exit_code, "has no spec.release" in done.stderr) == (2, True)


def test_a_full_profile_is_read(tmp_path: Path) -> None:
    file = saved(tmp_path, FULL)
    assert call("render", "-f", file).exit_code == 0
    assert call("export", "-f", file).exit_code == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("kind: [", "line 1 is no YAML"),
        ("kind: a\nb: c: d\n", "line 2 is no YAML: mapping values are not allowed here"),
        ("kind: Pod\n", "has no objects of kind ConnectAutoscalingProfile; exactly one is needed"),
        ("", "has no objects"),
        (
            "apiVersion: v1\nkind: ConnectAutoscalingProfile\n",
            "line 1: apiVersion must be connect-autoscaler.io/v1alpha1",
        ),
    ],
)
def test_a_bad_file_is_told_with_its_line(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "profile.yaml"
    file.write_text(content)
    done = call("render", "-f", file)
    assert done.exit_code == 2
    assert message in done.stderr
    assert str(file) in done.stderr


HEAD = """\
apiVersion: connect-autoscaler.io/v1alpha1
kind: ConnectAutoscalingProfile
metadata: {name: production}
spec:
  nodeClassRef: {group: karpenter.k8s.aws, kind: EC2NodeClass, name: default}
"""


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("  interval: 5s\n", "line 6: spec.interval: must be a duration of at least 1m and at most 1h, such as 5m"),
        ("  mode: Off\n", "line 6: spec.mode: "),
        ("  serverPol: {}\n", "line 6: there is no field spec.serverPol; did you mean serverPool?"),
        ("  contentPool:\n    weight: 5\n    wait: 3\n", "line 8: there is no field spec.contentPool.wait"),
        (
            "  serverPool:\n    requirements:\n    - {key: a, operator: Exists}\n    - {key: b, operator: Perhaps}\n",
            "line 9: spec.serverPool.requirements[1].operator: ",
        ),
        ("  connectAPI: {secretName: x}\n", "spec: must go with release"),
    ],
)
def test_a_broken_rule_is_told_with_its_line(tmp_path: Path, more: str, message: str) -> None:
    file = tmp_path / "profile.yaml"
    file.write_text(HEAD + more)
    done = call("render", "-f", file)
    assert done.exit_code == 2
    assert message in done.stderr, done.stderr
    assert "pydantic" not in done.stderr
    assert "Traceback" not in done.output
    assert call("render", "-f", "-", stdin=HEAD + more).stderr == done.stderr.replace(str(file), "standard input")


def test_a_file_that_is_not_there() -> None:
    done = call("render", "-f", "/nonexistent/profile.yaml")
    assert (done.exit_code, "cannot be read: No such file or directory" in done.stderr) == (2, True)


@given(st.lists(st.one_of(st.sampled_from(["spec", "serverPool", "labelKey"]), st.integers(0, 9)), min_size=1))
def test_paths_are_written_as_they_are_read(parts: list[str | int]) -> None:
    path = ["spec", *parts]
    assert read(written(path)) == path


def test_near_names() -> None:
    assert near("prodution", ["production", "staging"]) == "did you mean production?"
    assert near("xyz", ["production"]) == "there is production"
    assert near("xyz", []) == "there is none"


@pytest.mark.parametrize(("seconds", "words"), [(0, "0s"), (59, "59s"), (61, "1m"), (7200, "2h"), (200000, "2d")])
def test_ages(seconds: int, words: str) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert ago(now - timedelta(seconds=seconds), now) == words
    assert ago(None) == "unknown"


def test_no_colours_but_on_a_terminal() -> None:
    assert console().is_terminal is False
    assert "\x1b" not in call("explain").output


@pytest.mark.parametrize("refused", [False, True])
def test_colours_on_a_terminal_unless_refused(monkeypatch: pytest.MonkeyPatch, refused: bool) -> None:  # noqa: FBT001 - a parameter
    for name, value in (("TERM", "xterm-256color"), ("NO_COLOR", "1" if refused else "")):
        monkeypatch.setenv(name, value)
    master, slave = os.openpty()
    with os.fdopen(slave, "w") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        at = console()
        assert at.is_terminal
        at.print(Text("Failed", colour("Failed")))
        terminal.flush()
        shown = os.read(master, 1000).decode()
    os.close(master)
    assert ("\x1b[31m" in shown) is not refused


PLACES = (
    "{0}",
    "Authorization: Bearer {0}",
    "https://user:{0}@example.com/x",
    'password="{0}"',
    '{{"apiKey": "{0}"}}',
    "licence: {0}",
    "-----BEGIN PRIVATE KEY-----\n{0}\n-----END PRIVATE KEY-----",
)


@pytest.mark.parametrize("place", PLACES[1:])
def test_what_looks_like_a_secret_is_redacted_in_texts(place: str) -> None:
    assert MARKER not in text(f"before {place.format(MARKER)} after")
    assert text("kept: connect-server, 5m") == "kept: connect-server, 5m"


@pytest.mark.parametrize("key", ["password", "licenseKey", "API_KEY", "clientSecret"])
@pytest.mark.parametrize("place", PLACES)
def test_what_looks_like_a_secret_is_redacted_in_documents(key: str, place: str) -> None:
    value = place.format(MARKER)
    document = {
        "spec": {key: value, "list": [{key: [value]}], "env": [{"name": key, "value": value}]},
        "metadata": {
            "managedFields": [value],
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": value},
        },
    }
    assert MARKER not in json.dumps(redacted(document))


def test_variables_of_others_are_redacted_whatever_their_name() -> None:
    containers = [{"env": [{"name": "GREETING", "value": MARKER}, {"name": "A", "valueFrom": {"fieldRef": "b"}}]}]
    assert redacted(containers) == [{"env": [{"name": "GREETING", "value": "(redacted)"}, containers[0]["env"][1]]}]


def test_names_of_secrets_are_kept() -> None:
    spec = {
        "connectAPI": {"secretName": "connect-api"},
        "env": [{"name": "CONNECT_AUTOSCALER_LIVENESS_PORT", "value": "8080"}],
    }
    assert redacted(spec) == spec


class TestKubeconfig:
    """What kubectl accepts, and pykube alone would not."""

    def config(self, name: str, **user: Any) -> dict[str, Any]:
        return {
            "clusters": [{"name": name, "cluster": {"server": f"https://{name}.example.com"}}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
            "current-context": name,
        }

    def test_several_files_and_embedded_keys(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        key = {"client-certificate-data": "Y2VydA==", "client-key-data": "a2V5"}
        for name, user in (("one", key), ("two", {})):
            (tmp_path / name).write_text(json.dumps(self.config(name, **user)))
        monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'one'}:{tmp_path / 'two'}")
        private = Path()
        with Access(None, "one").open() as cluster:
            assert cluster.server == "https://one.example.com"
            user = cluster._client.config.user
            private = Path(user["client-key"].filename())
            assert private.read_bytes() == b"key"
            assert private.stat().st_mode & 0o077 == 0
        assert not private.exists(), "no key is left behind"
        with Access(None, "two").open() as cluster:
            assert cluster.server == "https://two.example.com"
        with pytest.raises(CliError, match="has no context three"), Access(None, "three").open():
            pass

    def test_what_a_file_says_first_counts(self, tmp_path: Path) -> None:
        one, two = self.config("one", username="first"), self.config("two")
        two["users"] += self.config("one", username="second")["users"]
        one["users"][0]["user"]["client-key"] = "keys/one.pem"
        (tmp_path / "two").write_text(json.dumps({**two, "current-context": "two"}))
        (tmp_path / "below" / "keys").mkdir(parents=True)
        (tmp_path / "below" / "keys" / "one.pem").touch()
        (tmp_path / "below" / "one").write_text(json.dumps(one))
        files = f"{tmp_path / 'below' / 'one'}:{tmp_path / 'two'}:{tmp_path / 'none'}"
        with Access(files, None).open() as cluster:
            assert cluster.server == "https://one.example.com"
            user = cluster._client.config.user
            assert user["username"] == "first"
            assert user["client-key"].filename() == str(tmp_path / "below" / "keys" / "one.pem")

    def test_credential_programs_of_the_stable_version(self, tmp_path: Path) -> None:
        program = {"apiVersion": "client.authentication.k8s.io/v1", "command": "true"}
        (tmp_path / "one").write_text(json.dumps(self.config("one", exec=program)))
        with Access(str(tmp_path / "one"), None).open() as cluster:
            assert cluster._client.config.user["exec"]["apiVersion"].endswith("/v1beta1")

    def test_a_context_without_its_cluster(self, tmp_path: Path) -> None:
        broken = self.config("one")
        broken["clusters"] = []
        (tmp_path / "one").write_text(json.dumps(broken))
        with pytest.raises(CliError, match="The kubeconfig cannot be used"), Access(str(tmp_path / "one"), None).open():
            pass

    @pytest.mark.parametrize("content", ["just words", "[]", "clusters: 5", "clusters: [{}]\ncurrent-context: one", ""])
    def test_what_is_no_kubeconfig(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "one").write_text(content)
        with pytest.raises(CliError, match="The kubeconfig"), Access(str(tmp_path / "one"), None).open():
            pass

    def test_a_credential_program_that_fails(self, tmp_path: Path) -> None:
        program = {"apiVersion": "client.authentication.k8s.io/v1", "command": "/nonexistent/login"}
        (tmp_path / "one").write_text(json.dumps(self.config("one", exec=program)))
        done = call("status", "--kubeconfig", tmp_path / "one")
        assert done.exit_code == 2
        assert "A program that the kubeconfig calls for credentials failed; log in again" in done.stderr

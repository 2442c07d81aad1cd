"""What is made of helm's words: texts as helm 4.3 wrote them, or as its source has them."""

import pytest

from connect_autoscaler.api.conditions import Reason
from connect_autoscaler.release.helm_errors import classify, classify_pull

USER = "system:serviceaccount:posit:helm"
VALUES = {"config": {"Postgres": {"Password": "s3cr3t with words"}}, "license": {"key": "AAAA-BBBB"}, "port": 39390}
CONFLICT = (
    "conflict occurred while applying object posit/connect-rstudio-connect apps/v1, Kind=Deployment: "
    'Apply failed with 2 conflicts: conflicts with "kubectl-edit" using apps/v1:\n'
    '- .spec.replicas\n- .spec.template.spec.containers[name="connect"].image'
)
OTHER_CONFLICT = (
    "conflict occurred while applying object posit/connect-rstudio-connect-config /v1, Kind=ConfigMap: "
    'Apply failed with 1 conflict: conflict with "other" using v1: .data.rstudio-connect.gcfg'
)
NOT_READY = (
    "resource Deployment/posit/connect-rstudio-connect not ready. status: InProgress, message: Pending termination: 1\n"
    "context deadline exceeded"
)
FORBIDDEN = (
    "query: failed to query with labels: secrets is forbidden: "
    f'User "{USER}" cannot list resource "secrets" in API group "" in the namespace "posit"'
)
DEPLOYMENT_CONFLICT = (
    'Deployment posit/connect-rstudio-connect: "kubectl-edit" owns .spec.replicas, '
    '.spec.template.spec.containers[name="connect"].image'
)
FAILED = "Error: UPGRADE FAILED: "
ROLLED_BACK = f"{FAILED}release connect failed, and has been rolled back due to rollback-on-failure being set: "

# Texts as helm 4.3 wrote them, the reason, and words that a user has to see.
RECORDED: dict[str, tuple[str, Reason, str]] = {
    "no release": (f'{FAILED}"nope" has no deployed releases', Reason.RELEASE_NOT_FOUND, "does not exist"),
    "not found": ("Error: release: not found", Reason.RELEASE_NOT_FOUND, "does not exist"),
    "no revision": ("Error: release has no 99 version", Reason.RELEASE_NOT_FOUND, "does not exist"),
    "pending": (
        f"{FAILED}another operation (install/upgrade/rollback) is in progress",
        Reason.PENDING_RELEASE,
        "holds the release",
    ),
    "raced": (f"{FAILED}release: already exists", Reason.CONFLICT, "at the same time"),
    "chart's own": (
        f"{FAILED}execution error at (rstudio-connect/templates/NOTES.txt:23:6): `launcher.enabled` and `a.b`: no\n",
        Reason.RENDER_FAILED,
        "at rstudio-connect/templates/NOTES.txt:23:6: `launcher.enabled` and `a.b`: no",
    ),
    "nil pointer": (
        (
            f"{FAILED}rstudio-connect/templates/deployment.yaml:59:22\n"
            '  executing "rstudio-connect/templates/deployment.yaml" at <.Values.readinessProbe.enabled>:\n'
            "    nil pointer evaluating interface {}.enabled"
        ),
        Reason.RENDER_FAILED,
        "at rstudio-connect/templates/deployment.yaml:59:22",
    ),
    "schema": (
        (
            "Error: values don't meet the specifications of the schema(s) in the following chart(s):\n"
            "rstudio-connect:\n- at '/replicas': got string, want integer\n"
        ),
        Reason.INVALID_VALUES,
        "at /replicas",
    ),
    "json": (
        "Error: failed to parse -: cannot unmarshal yaml document: error converting YAML to JSON: yaml: line 1: x",
        Reason.INTERNAL_ERROR,
        "cannot read",
    ),
    "conflict": (f"{FAILED}{CONFLICT}", Reason.CONFLICT, DEPLOYMENT_CONFLICT),
    "two conflicts": (
        f"{FAILED}{OTHER_CONFLICT} && {CONFLICT}",
        Reason.CONFLICT,
        'ConfigMap posit/connect-rstudio-connect-config: "other" owns .data.rstudio-connect.gcfg; '
        + DEPLOYMENT_CONFLICT,
    ),
    "scaled": (
        f"{FAILED}{CONFLICT.replace(chr(34) + ' using', chr(34) + ' with subresource ' + chr(34) + 'scale' + chr(34))}",
        Reason.CONFLICT,
        '"kubectl-edit" (scale) owns .spec.replicas',
    ),
    "forbidden": (f"{FAILED}{FORBIDDEN}", Reason.FORBIDDEN, f'{USER} may not list secrets in the namespace "posit"'),
    "forbidden in a group": (
        (
            f'{FAILED}could not get information: deployments.apps "connect" is forbidden: User "{USER}" cannot patch '
            'resource "deployments" in API group "apps" in the namespace "posit"'
        ),
        Reason.FORBIDDEN,
        f"{USER} may not patch deployments.apps",
    ),
    "policy": (
        (
            f"{FAILED}deployments.apps \"connect\" is forbidden: ValidatingAdmissionPolicy 'no-root' with binding 'b' "
            "denied request: because"
        ),
        Reason.ADMISSION_DENIED,
        "no-root",
    ),
    "webhook": (
        f'{FAILED}admission webhook "check.example.com" denied the request: because',
        Reason.ADMISSION_DENIED,
        "check.example.com",
    ),
    "unseen": (
        f"{FAILED}resource Deployment/posit/connect not ready. status: Unknown, message: x\ncontext deadline exceeded",
        Reason.FORBIDDEN,
        "never saw the state of Deployment/posit/connect",
    ),
    "timeout": (
        f"{FAILED}{NOT_READY}",
        Reason.TIMEOUT,
        "Deployment/posit/connect-rstudio-connect did not become ready in time",
    ),
    "cancelled": (f"{FAILED}context canceled", Reason.CANCELLED, "interrupted"),
    "no server": (
        (
            f'{FAILED}kubernetes cluster unreachable: Get "https://127.0.0.1:1/version": dial tcp 127.0.0.1:1: '
            "connect: connection refused"
        ),
        Reason.API_UNAVAILABLE,
        "cannot reach the API server",
    ),
    "server lost": (
        f'{FAILED}Patch "https://127.0.0.1:1/apis": unexpected EOF',
        Reason.API_UNAVAILABLE,
        "did not answer",
    ),
    "server gone": (
        f'{FAILED}create: failed to create: Post "https://127.0.0.1:1/api/v1/namespaces/posit/secrets": EOF',
        Reason.API_UNAVAILABLE,
        "did not answer",
    ),
    "server in trouble": (
        f'{FAILED}an error on the server ("unknown") has prevented the request from succeeding (post secrets)',
        Reason.API_UNAVAILABLE,
        "failed",
    ),
    "no chart": ('Error: path "/nowhere" not found', Reason.CHART_UNAVAILABLE, "cannot be had"),
    "dependency": (
        (
            "Error: an error occurred while checking for chart dependencies. You may need to run 'helm dependency "
            "build' to fetch missing dependencies: found in Chart.yaml, but missing in charts/ directory: "
            "rstudio-library"
        ),
        Reason.CHART_INCOMPLETE,
        "charts/",
    ),
    "owned": (
        (
            f'{FAILED}Service "connect" exists and cannot be imported into the current release: '
            "invalid ownership metadata; x"
        ),
        Reason.OWNERSHIP_CONFLICT,
        "another release",
    ),
    "immutable": (f"{FAILED}spec.selector: Invalid value: field is immutable", Reason.IMMUTABLE_FIELD, "changed"),
    "unknown": (f"{FAILED}something entirely new: hunter2", Reason.HELM_FAILED, "does not know"),
    "nothing": ("", Reason.HELM_FAILED, "does not know"),
}


@pytest.mark.parametrize(("stderr", "reason", "words"), RECORDED.values(), ids=RECORDED)
def test_each_text_has_a_reason(stderr: str, reason: Reason, words: str) -> None:
    error = classify(stderr)
    assert error.reason is reason
    assert words in error.message
    assert "hunter2" not in str(error)
    assert "\n" not in error.message


@pytest.mark.parametrize(("stderr", "reason", "words"), RECORDED.values(), ids=RECORDED)
def test_what_was_rolled_back_names_its_cause(stderr: str, reason: Reason, words: str) -> None:
    error = classify(ROLLED_BACK + stderr.removeprefix(FAILED).removeprefix("Error: "))
    assert (error.reason, error.cause) == (Reason.ROLLED_BACK, reason)
    assert words in error.message


def test_a_failed_rollback_tells_what_is_said_twice_once() -> None:
    both = f"an error occurred while rolling back the release. original upgrade error: {CONFLICT}: {CONFLICT}"
    error = classify(FAILED + both)
    assert (error.reason, error.cause) == (Reason.ROLLBACK_FAILED, Reason.CONFLICT)
    assert error.message.endswith(f"field manager: {DEPLOYMENT_CONFLICT}")


def test_only_passing_states_are_passing() -> None:
    passing = {name for name, (stderr, _, _) in RECORDED.items() if classify(stderr).passing}
    servers = {"no server", "server lost", "server gone", "server in trouble"}
    assert passing == {"pending", "raced", "cancelled", "no chart", *servers}


def test_what_was_rolled_back_for_a_passing_reason_may_be_tried_again() -> None:
    gone = RECORDED["server gone"][0].removeprefix(FAILED)
    back = (
        "Error: UPGRADE FAILED: release connect failed, and has been rolled back due to rollback-on-failure being set: "
    )
    assert classify(back + gone).passing
    assert not classify(back + NOT_READY).passing


def test_warnings_and_lines_of_libraries_do_not_count() -> None:
    noise = 'level=WARN msg="upgrade failed" error="secrets is forbidden"\nI0101 10:00:00.0 1 x.go:1] is forbidden\n'
    error = classify(f"{noise}{FAILED}{NOT_READY}\nW0101 10:00:00.0 1 x.go:1] denied the request\n")
    assert error.reason is Reason.TIMEOUT


def test_a_charts_words_decide_nothing_but_that_it_refuses() -> None:
    said = "context deadline exceeded, is forbidden, conflict occurred while applying"
    error = classify(f"{FAILED}execution error at (rstudio-connect/templates/NOTES.txt:1:2): {said}")
    assert error.reason is Reason.RENDER_FAILED


@pytest.mark.parametrize(
    "said",
    [
        "license AAAA-BBBB is no good",
        "license aaaa-bbbb is no good",
        'Password is "s3cr3t with words"',
        "Password is s3cr3t\n  with words",
        "Password starts with s3cr3t",
        "port 39390 is taken",
    ],
)
def test_words_with_a_value_in_them_are_withheld(said: str) -> None:
    stderr = f"{FAILED}execution error at (rstudio-connect/templates/NOTES.txt:1:2): {said}"
    error = classify(stderr, VALUES)
    assert error.reason is Reason.RENDER_FAILED
    assert error.message == (
        "the chart refuses the values at rstudio-connect/templates/NOTES.txt:1:2; "
        "its message is withheld because it may hold a value"
    )
    assert " ".join(said.split()) in classify(stderr, {"enabled": "true", "short": "is", "list": [None, True]}).message


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ('Error: failed to perform "FetchReference" on source: response status code 404: not found', "it answered 404"),
        ("Error: x\nfailed to fetch https://h:4011/index.yaml : 401 Unauthorized", "it answered 401"),
        ("Get: basic credential not found", "it wants credentials"),
        ("tls: failed to verify certificate: x509: certificate signed by unknown authority", "is not trusted"),
        ("dial tcp 127.0.0.1:1: connect: connection refused", "it cannot be reached"),
        ('chart "rstudio-connect" matching 1.0.0 not found in source index.', "it does not have that version"),
    ],
)
def test_why_a_chart_cannot_be_fetched(output: str, words: str) -> None:
    error = classify_pull(output)
    assert (error.reason, error.passing) == (Reason.CHART_UNAVAILABLE, True)
    assert words in error.message

"""Every error of the API server has one reason and one kind of retry."""

import json

import pytest

from connect_autoscaler.api.conditions import Reason
from connect_autoscaler.core.errors import KubeError, Retry

CASES = [
    (400, "bad request", Reason.INVALID, Retry.USER),
    (401, "Unauthorized", Reason.UNAUTHORIZED, Retry.LATER),
    (403, 'nodepools is forbidden: User "x" cannot patch resource', Reason.FORBIDDEN, Retry.USER),
    (
        403,
        "nodepools is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no",
        Reason.ADMISSION_DENIED,
        Retry.USER,
    ),
    (404, "not found", Reason.CONFLICT, Retry.SOON),
    (409, "object has been modified", Reason.CONFLICT, Retry.SOON),
    (410, "too old resource version", Reason.CONFLICT, Retry.SOON),
    (422, "spec.weight: Invalid value", Reason.INVALID, Retry.USER),
    (422, "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no", Reason.ADMISSION_DENIED, Retry.USER),
    (429, "too many requests", Reason.THROTTLED, Retry.SOON),
    (500, ".spec.foo: field not declared in schema", Reason.INVALID, Retry.USER),
    (500, "etcdserver: request timed out", Reason.API_UNAVAILABLE, Retry.SOON),
    (503, "apiserver is shutting down", Reason.API_UNAVAILABLE, Retry.SOON),
    (504, "timeout", Reason.API_UNAVAILABLE, Retry.SOON),
]


@pytest.mark.parametrize(("status", "message", "reason", "retry"), CASES, ids=lambda v: str(v)[:24])
def test_classification(status: int, message: str, reason: Reason, retry: Retry) -> None:
    error = KubeError.from_answer("PATCH /x", status, {}, json.dumps({"kind": "Status", "message": message}).encode())
    assert (error.reason, error.retry) == (reason, retry)
    assert message in error.message


@pytest.mark.parametrize("body", [b"", b"<html>502 Bad Gateway</html>", b"[]", b"\xff\xfe", b'{"message": null}'])
def test_whatever_a_proxy_answers_is_an_error_with_a_message(body: bytes) -> None:
    error = KubeError.from_answer("GET /x", 502, {}, body)
    assert error.reason is Reason.API_UNAVAILABLE
    assert error.message.startswith("GET /x: ")


def test_retry_after_in_seconds_and_as_a_date() -> None:
    def wait(value: str) -> float | None:
        return KubeError.from_answer("GET /x", 429, {"Retry-After": value}, b"{}").retry_after

    assert wait("7") == 7
    assert wait("Mon, 01 Jan 2001 00:00:00 GMT") == 0
    assert wait("") is None
    assert wait("soon") is None
    assert wait("nan") is None
    assert wait("-7") == 0
    assert wait("86400") == wait("inf") == wait("Fri, 01 Jan 2999 00:00:00 GMT") == 300


def test_no_answer() -> None:
    error = KubeError.unreachable("GET /x", TimeoutError())
    assert (error.status, error.retry) == (0, Retry.SOON)
    assert "TimeoutError" in error.message


def test_only_an_answer_that_names_the_object_says_that_it_is_absent() -> None:
    """An API server that has not loaded a CustomResourceDefinition yet answers 404 to everything of its kind."""
    named = json.dumps({"kind": "Status", "details": {"name": "connect-server", "kind": "nodepools"}}).encode()
    assert KubeError.from_answer("GET x", 404, {}, named).absent
    for body in (b"404 page not found\n", b'{"kind":"Status","details":{}}', b'{"kind":"Status"}'):
        assert not KubeError.from_answer("GET x", 404, {}, body).absent
    assert not KubeError.from_answer("GET x", 409, {}, named).absent

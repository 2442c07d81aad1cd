"""Who writes the release, by the marks of tools."""

import pytest

from connect_autoscaler.api.conditions import Problem, Reason
from connect_autoscaler.api.spec import ReleaseManager
from connect_autoscaler.release.owners import Owner, owner

HELM = {"annotations": {"meta.helm.sh/release-name": "connect", "meta.helm.sh/release-namespace": "posit"}}
FLUX = {"labels": {"helm.toolkit.fluxcd.io/name": "rsc", "helm.toolkit.fluxcd.io/namespace": "flux-system"}}
ARGO = {"annotations": {"argocd.argoproj.io/tracking-id": "rsc:apps/Deployment:posit/connect-rsc"}}
PREFIXED = {"annotations": {"argocd.argoproj.io/tracking-id": "team-a_rsc:apps/Deployment:posit/connect-rsc"}}
CHART = {"labels": {"app.kubernetes.io/instance": "connect", "app.kubernetes.io/managed-by": "Helm"}}
BOTH = {**FLUX, **ARGO}
AUTO = ReleaseManager.AUTO


def found(meta: object, *, secrets: bool, asked: ReleaseManager = AUTO) -> Owner | Problem:
    deployment = None if meta is None else {"metadata": {"name": "connect-rsc", **dict(meta)}}  # type: ignore[call-overload]
    return owner(asked, "posit", "connect", deployment, secrets=secrets)


@pytest.mark.parametrize(
    ("meta", "secrets", "expected"),
    [
        (HELM, True, Owner(ReleaseManager.HELM)),
        (CHART, True, Owner(ReleaseManager.HELM)),
        ({}, True, Owner(ReleaseManager.HELM)),
        (None, True, Owner(ReleaseManager.HELM)),
        (FLUX, True, Owner(ReleaseManager.FLUX, "flux-system", "rsc")),
        (FLUX, False, Owner(ReleaseManager.FLUX, "flux-system", "rsc")),
        (ARGO, False, Owner(ReleaseManager.ARGO_CD, "", "rsc")),
        (PREFIXED, False, Owner(ReleaseManager.ARGO_CD, "team-a", "rsc")),
        (ARGO, True, Owner(ReleaseManager.HELM)),
        (CHART, False, Owner(ReleaseManager.EXPORT)),
        ({}, False, Owner(ReleaseManager.EXPORT)),
        ({"labels": None, "annotations": None}, False, Owner(ReleaseManager.EXPORT)),
    ],
)
def test_marks(meta: object, secrets: bool, expected: Owner) -> None:  # noqa: FBT001 - a column
    assert found(meta, secrets=secrets) == expected


@pytest.mark.parametrize(
    ("meta", "secrets", "reason", "stalled", "words"),
    [
        (BOTH, True, Reason.OWNER_AMBIGUOUS, True, "spec.release.manager"),
        (BOTH, False, Reason.OWNER_AMBIGUOUS, True, "connect-rsc"),
        (HELM, False, Reason.UNSUPPORTED_STORAGE, False, "HELM_DRIVER"),
        (None, False, Reason.RELEASE_NOT_FOUND, False, "posit"),
    ],
)
def test_too_little_or_too_much_is_known(
    meta: object,
    secrets: bool,  # noqa: FBT001 - a column
    reason: Reason,
    stalled: bool,  # noqa: FBT001 - a column
    words: str,
) -> None:
    problem = found(meta, secrets=secrets)
    assert isinstance(problem, Problem)
    assert (problem.reason, problem.stalled) == (reason, stalled)
    assert words in problem.message


@pytest.mark.parametrize("meta", [None, {}, HELM, CHART, BOTH])
def test_what_the_user_says_goes_before_all_marks(meta: object) -> None:
    for secrets in (True, False):
        for asked in (ReleaseManager.HELM, ReleaseManager.EXPORT):
            assert found(meta, secrets=secrets, asked=asked) == Owner(asked)
        for asked in (ReleaseManager.FLUX, ReleaseManager.ARGO_CD):
            whose = found(meta, secrets=secrets, asked=asked)
            assert isinstance(whose, Owner)
            assert whose.manager is asked
            assert whose.name == ("rsc" if meta is BOTH else "connect"), "the mark's name, else the release's"

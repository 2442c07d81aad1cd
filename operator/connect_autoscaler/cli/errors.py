"""What goes wrong, in one sentence with the next step. No traceback for what is the user's to mend."""

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from http import HTTPStatus
from typing import Any, Final

import click
import requests
import yaml
from pydantic import ValidationError
from pykube.exceptions import PyKubeError

from connect_autoscaler import __version__
from connect_autoscaler.api.names import KIND

NO: Final = 1
"""Exit code of a negative answer: a check failed, changes are pending, it did not come to pass in time."""
FAILED: Final = 2
"""Exit code of an error: no answer at all."""


class CliError(click.ClickException):
    """An error: exit code 2."""

    exit_code = FAILED


class Refusal(click.ClickException):
    """A negative answer: exit code 1."""

    exit_code = NO


class ApiError(CliError):
    """A request that the API server did not grant.

    Attributes:
        code: HTTP status.
        causes: Field and message of each cause of a refused object.
    """

    def __init__(self, what: str, code: int, body: Mapping[str, Any], text: str) -> None:
        self.code = code
        details = body.get("details") or {}
        causes = details.get("causes") or ()
        self.causes = tuple((str(each.get("field", "")), str(each.get("message", ""))) for each in causes)
        super().__init__(sentence(what, code, str(body.get("message") or text.strip()[:200] or code)))


def sentence(what: str, code: int, text: str) -> str:
    """Say what an HTTP status means here.

    Args:
        what: The request in words, such as ``read NodePool connect-server``.
        code: HTTP status.
        text: The API server's message.
    """
    match code:
        case HTTPStatus.UNAUTHORIZED:
            return f"Could not {what}: the API server does not accept your credentials; log in again, or use --context"
        case HTTPStatus.FORBIDDEN if "is forbidden: User" in text or "cannot" in text:
            return f"You may not {what}; ask an administrator for the right: {text}"
        case HTTPStatus.NOT_FOUND if "could not find the requested resource" in text or "page not found" in text:
            return f"Could not {what}: the cluster does not know this kind; {_install(what)}"
        case _:
            return f"Could not {what}: {text}"


def _install(what: str) -> str:
    if KIND in what:
        return "install the resource with kubectl apply -k deploy/, or choose another cluster with --context"
    return "install Karpenter, or choose another cluster with --context"


def near(word: str, words: list[str]) -> str:
    """Suggest what somebody may have meant; else name everything there is, if that is little."""
    lower = {each.lower(): each for each in words}
    parts = [each for each in lower if len(word) > 1 and word.lower() in each][:3]
    if found := parts or get_close_matches(word.lower(), lower, n=3, cutoff=0.5):
        return f"did you mean {' or '.join(lower[each] for each in found)}?"
    return f"there is {', '.join(words)}" if words else "there is none"


@contextmanager
def translated(server: str = "") -> Iterator[None]:
    """Turn what libraries raise into sentences.

    Args:
        server: Where the API server is, if that is known.
    """
    at = f"The API server{f' at {server}' if server else ''}"
    try:
        yield
    except requests.exceptions.SSLError as error:
        raise CliError(
            f"{at} shows a certificate that the kubeconfig does not trust; check its cluster entry"
        ) from error
    except (requests.exceptions.ConnectionError, requests.exceptions.Timeout) as error:
        raise CliError(f"{at} does not answer; is it up, and is --context right? ({_cause(error)})") from error
    except ValidationError as error:
        text = "A profile in this cluster has a spec that this version does not know; use the version of its CRD"
        raise CliError(f"{text} (this is {__version__})") from error
    except requests.exceptions.RequestException as error:
        raise CliError(f"{at} does not answer as one does; check the server in the kubeconfig ({error})") from error
    except PyKubeError as error:
        raise unusable(error) from error


@contextmanager
def reading_kubeconfig() -> Iterator[None]:
    """The same for a kubeconfig, in which anything may be missing or of another form."""
    try:
        yield
    except (PyKubeError, yaml.YAMLError, OSError, LookupError, TypeError, ValueError) as error:
        raise unusable(error) from error
    except AttributeError as error:
        raise CliError("The kubeconfig cannot be used: it is none; name another with --kubeconfig") from error


@contextmanager
def calling_programs() -> Iterator[None]:
    """The same for programs that a kubeconfig calls for credentials."""
    try:
        yield
    except (subprocess.CalledProcessError, OSError, NotImplementedError) as error:
        if isinstance(error, requests.exceptions.RequestException):
            raise
        raise CliError(f"A program that the kubeconfig calls for credentials failed; log in again ({error})") from error


def unusable(error: Exception) -> CliError:
    """Say what is wrong with a kubeconfig, in the words of who reads it."""
    words = " ".join(str(error).split())
    return CliError(f"The kubeconfig cannot be used; name another with --kubeconfig ({words})")


def _cause(error: BaseException) -> str:
    """The last words of a chain of errors: those of the operating system."""
    while (below := error.__cause__ or error.__context__) is not None:
        error = below
    return str(error).rpartition(": ")[2] or type(error).__name__

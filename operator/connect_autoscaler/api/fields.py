"""What the fields of the resource are made of: the base model, strings with a format, bounded lists, durations.

Formats are Karpenter's, narrowed where it accepts what it cannot run (endless durations, cron fields of words).
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from datetime import timedelta
from typing import Annotated, Any, Final, TypeVar

import durationpy
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, StringConstraints, model_validator
from pydantic.alias_generators import to_camel

T = TypeVar("T")

NEVER: Final = "Never"
_DURATION: Final = "([0-9]{1,5}h|[0-9]{1,7}m|[0-9]{1,9}s){1,4}"
_DNS: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN: Final = rf"{_DNS}(\.{_DNS})*"
QUALIFIED_NAME: Final = rf"^({_SUBDOMAIN}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{{0,61}}[A-Za-z0-9])?$"
_LABEL_VALUE: Final = r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"
_CRON: Final = (
    "^(@(annually|yearly|monthly|weekly|daily|midnight|hourly)|([0-9*/,-]+ +){2}[0-9*/,?-]+ +"
    "([0-9*/,-]|JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC)+ +([0-9*/,?-]|SUN|MON|TUE|WED|THU|FRI|SAT)+)$"
)
_QUANTITY: Final = r"^\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]{1,2})?$"
_HOST: Final = r"([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?"
CONDITION_TYPE: Final = rf"^({_SUBDOMAIN}/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"
REASON: Final = "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"
_LARGEST: Final = 2**53 - 1
"""Largest integer that every JSON implementation keeps exactly."""


class Model(BaseModel):
    """Base of all models: immutable, camelCase outside, unknown fields of newer versions ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, data: Any) -> Any:
        """Read `field: null` as an absent field, as the API server does before it fills in defaults; in maps too."""
        return {k: _without_nulls(v) for k, v in data.items() if v is not None} if isinstance(data, dict) else data


def _without_nulls(value: Any) -> Any:
    return {k: v for k, v in value.items() if v is not None} if isinstance(value, dict) else value


def require(condition: object, message: str) -> None:
    """Refuse a value.

    Raises:
        ValueError: With the message, which says what is allowed.
    """
    if not condition:
        raise ValueError(message)


def text(maximum: int, pattern: str | None = None, *, minimum: int = 1) -> StringConstraints:
    """Return constraints of a string: its length in characters, and an expression that RE2 and Rust read alike."""
    return StringConstraints(min_length=minimum, max_length=maximum, pattern=pattern)


def integer(minimum: int, maximum: int) -> Any:
    """Return the annotation of a bounded integer that takes neither booleans nor numbers in quotes."""
    return Field(strict=True, ge=minimum, le=maximum)


def unique(key: Callable[[Any], Hashable], message: str) -> AfterValidator:
    """Return a validator of lists that are maps or sets: no two entries may have the same key."""

    def check(entries: Iterable[T]) -> Iterable[T]:
        require(max(Counter(map(key, entries)).values(), default=0) <= 1, message)
        return entries

    return AfterValidator(check)


def parse_duration(value: str) -> timedelta | None:
    """Return the length of a duration such as `1h30m`, None for `Never`.

    Raises:
        durationpy.DurationError: If it is no duration; fields of these models always are.
    """
    return None if value == NEVER else _parsed(value)


def _parsed(value: str) -> timedelta:
    result: timedelta = durationpy.from_str(value)
    return result


def within(
    message: str, *, above: timedelta | None = None, least: timedelta | None = None, most: timedelta | None = None
) -> AfterValidator:
    """Return a validator of durations; Never and other words that the format admits pass."""

    def check(value: str) -> str:
        if value[0].isdigit():
            length = _parsed(value)
            require(above is None or length > above, message)
            require(least is None or length >= least, message)
            require(most is None or length <= most, message)
        return value

    return AfterValidator(check)


ZERO: Final = timedelta(0)
"""For `within(above=...)`: longer than zero."""

Boolean = StrictBool
Duration = Annotated[str, text(40, f"^{_DURATION}$")]
DurationOrNever = Annotated[str, text(40, f"^({_DURATION}|{NEVER})$")]
DurationOrTrue = Annotated[str, text(40, f"^(true|{_DURATION})$")]
BudgetDuration = Annotated[str, text(20, "^([0-9]{1,5}h|[0-9]{1,7}m|[0-9]{1,5}h[0-9]{1,7}m)(0s)?$")]
Cron = Annotated[str, text(128, _CRON)]
TimeZone = Annotated[str, text(64, "^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}$")]
DnsLabel = Annotated[str, text(63, f"^{_DNS}$")]
DnsName = Annotated[str, text(253, f"^{_SUBDOMAIN}$")]
PoolName = Annotated[str, text(63, f"^{_SUBDOMAIN}$")]
ReleaseName = Annotated[str, text(53, f"^{_SUBDOMAIN}$")]
Kind = Annotated[str, text(63, "^[A-Za-z]([-A-Za-z0-9]*[A-Za-z0-9])?$")]
LabelKey = Annotated[str, text(316, QUALIFIED_NAME)]
LabelValue = Annotated[str, text(63, _LABEL_VALUE, minimum=0)]
NonEmptyLabelValue = Annotated[str, text(63, _LABEL_VALUE)]
Quantity = Annotated[int, integer(0, _LARGEST)] | Annotated[str, text(32, _QUANTITY)]
NodeCount = Annotated[str, text(7, "^((100|[0-9]{1,2})%|[0-9]{1,6})$")]
JsonPointer = Annotated[str, text(512, "^(/([^/~]|~[01])*)+$")]
RepositoryUrl = Annotated[str, text(512, f"^https?://{_HOST}(/[A-Za-z0-9._~%/-]*)?$")]
OciReference = Annotated[str, text(512, f"^oci://{_HOST}(/[a-z0-9]([a-z0-9._-]*[a-z0-9])?)+$")]
RelativePath = Annotated[str, text(256, "^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$")]
CamelCase = Annotated[str, text(128, "^[A-Z][A-Za-z0-9]*$")]
Generation = Annotated[int, integer(0, _LARGEST)]
Count = Annotated[int, integer(0, 2**31 - 1)]

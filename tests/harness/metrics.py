"""What Prometheus would see of an operator."""

import re
from typing import Final, Self

import requests
from prometheus_client.parser import text_string_to_metric_families

from harness.operators import Operator

_PREFIX: Final = "connect_autoscaling_"


class Scrape:
    """The metrics of an operator at one moment."""

    def __init__(self, port: int) -> None:
        answer = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=30)
        answer.raise_for_status()
        self.text = answer.text
        self.type = answer.headers["Content-Type"]
        self.samples = [each for family in text_string_to_metric_families(answer.text) for each in family.samples]

    @classmethod
    def of(cls, operator: Operator) -> Self:
        """Ask an operator at the port that it has logged."""
        return cls(int(re.findall(r"metrics on port (\d+)", operator.log())[-1]))

    def sum(self, name: str, **labels: str) -> float | None:
        """Return the sum of the series that have these labels; None: there is none."""
        found = [s.value for s in self.samples if s.name == _PREFIX + name and labels.items() <= s.labels.items()]
        return sum(found) if found else None

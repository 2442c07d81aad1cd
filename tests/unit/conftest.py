"""Settings of the property tests: the same examples every time where CI is set, fresh ones on a desk."""

import os

from hypothesis import HealthCheck, settings

_LIMITS = settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.too_slow])

settings.register_profile("dev", _LIMITS)
settings.register_profile("ci", _LIMITS, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

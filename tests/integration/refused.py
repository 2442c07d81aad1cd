"""What has to be true of a profile that cannot be served, and of all others meanwhile."""

import itertools
from collections.abc import Collection

from harness import NODE_POOLS, Json, Profile
from integration.kstatus import assert_regular, conditions, kstatus
from sandbox import eventually


async def refused(
    profile: Profile,
    reason: str,
    *words: str,
    stalled: bool = True,
    standing: Collection[str] = (),
    seconds: float = 30,
) -> Json:
    """Wait until a profile is refused as it should be, and check that nothing is half-written.

    Args:
        profile: The profile.
        reason: Of Ready, NodePoolsReady and, if stalled, Stalled.
        words: What the message has to say.
        stalled: Whether only the user can end it.
        standing: NodePools of the profile's names that exist; all others must not.
        seconds: How long to wait.
    """
    await profile.condition_is("Ready", "False", reason, seconds=seconds)
    body = await profile.condition_is("NodePoolsReady", "False", reason, seconds=seconds)
    assert_regular(body)
    found = conditions(body)
    assert kstatus(body) == ("Failed" if stalled else "InProgress"), found
    if stalled:
        assert found["Stalled"]["reason"] == reason
    message = found["Ready"]["message"]
    assert [word for word in words if word not in message] == [], message
    expected = {name: name in standing for name in (profile.server, profile.content)}
    assert {name: profile.api.find(NODE_POOLS, name) is not None for name in expected} == expected
    return body


class Bystander:
    """A healthy profile, which must not suffer from what is wrong with others."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self._numbers = itertools.count()

    async def is_served(self) -> None:
        """Bend its pool, a new field each time, and see it corrected."""
        label = f"bent-{next(self._numbers)}"
        template = {"metadata": {"labels": {label: "yes"}}}
        self.profile.api.merge(NODE_POOLS, self.profile.content, {"spec": {"template": template}})

        def healed() -> bool:
            return label not in self.profile.pool(self.profile.content)["spec"]["template"]["metadata"]["labels"]

        await eventually(healed)
        body = await self.profile.ready()
        assert kstatus(body) == "Current"

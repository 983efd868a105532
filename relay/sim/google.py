"""What all connections of one simulator share."""

from dataclasses import dataclass
from random import Random

from relay.sim.archive import Archive
from relay.sim.profile import Profile
from relay.sim.scenario import Script


@dataclass(frozen=True, slots=True)
class Google:
    """The simulated service behind every connection."""

    profile: Profile
    archive: Archive
    script: Script
    random: Random

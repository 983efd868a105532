"""The Gemini Live simulator: plays Google's side of the Live API on a port of your own (`relay sim`).

Reading order: `profile` (the knobs), `families` (the models and their manners), `dialogue` (one connection, pure),
`server` (the sockets). `docs/simulator.md` is the manual. It must not import anything of the relay but
`relay.core.schema`: it is what the relay is judged by.
"""

from relay.sim.profile import Profile
from relay.sim.scenario import Scenario
from relay.sim.server import Simulator

__all__ = ["Profile", "Scenario", "Simulator"]

"""All targets, by name."""

from tests.fuzz.credentials import CREDENTIALS
from tests.fuzz.frames import FRAMES
from tests.fuzz.operations import OPERATIONS
from tests.fuzz.target import Target

TARGETS: dict[str, Target] = {target.name: target for target in (*FRAMES, *CREDENTIALS, *OPERATIONS)}

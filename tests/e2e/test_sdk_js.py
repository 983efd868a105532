"""@google/genai for JavaScript in Node, unmodified, through the relay: on http://, and over TLS."""

import pytest

from tests.e2e.sdk.director import GREETING, Director, check_resumption, check_target, check_wrong_key
from tests.e2e.sdk.driving import JAVASCRIPT
from tests.e2e.sdk.scenarios import SCENARIOS, Scenario

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_conversation(director: Director, scenario: Scenario) -> None:
    """Each conversation of the table goes as it must, for the application and at Google's end."""
    director.perform(JAVASCRIPT, scenario, director.stage.plain_url)


def test_tls(director: Director) -> None:
    """An https:// base URL reaches a relay with TLS."""
    director.perform(JAVASCRIPT, GREETING, director.stage.secure_url)


def test_a_refusal_rejects_connect_with_code_and_reason(director: Director) -> None:
    """What a policy forbids in the setup rejects connect(), with the relay's close code and its reason."""
    (scenario,) = [scenario for scenario in SCENARIOS if scenario.name == "system instruction refused"]
    failure = director.perform(JAVASCRIPT, scenario, director.stage.plain_url).failure
    assert failure is not None
    assert failure["message"] == f"Live connection closed before setup completed (code 1008): {scenario.refusal}"


def test_paths(director: Director) -> None:
    """The `//ws/…` that the SDK makes of every base URL is served, below a prefix too."""
    check_target(director, JAVASCRIPT, director.stage.plain_url)
    check_target(director, JAVASCRIPT, director.stage.prefixed_url)


def test_wrong_key(director: Director) -> None:
    """A wrong key is refused with 401 before the upgrade; connect() is rejected with the status."""
    words = check_wrong_key(director, JAVASCRIPT, director.stage.plain_url)
    assert words == "Error: Live connection failed before setup completed: Unexpected server response: 401"


def test_resumption(director: Director) -> None:
    """A session is resumed by the handle the SDK was given."""
    check_resumption(director, JAVASCRIPT, director.stage.plain_url)

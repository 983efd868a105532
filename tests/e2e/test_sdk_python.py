"""google-genai for Python, current and 1.x, unmodified, through the relay over TLS: it dials nothing but wss."""

import pytest

from tests.e2e.sdk.director import Director, check_resumption, check_target, check_wrong_key
from tests.e2e.sdk.driving import PYTHON_1, PYTHON_3, Sdk
from tests.e2e.sdk.scenarios import SCENARIOS, Scenario

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(params=[PYTHON_3, PYTHON_1], ids=str)
def sdk(request: pytest.FixtureRequest) -> Sdk:
    """Each Python SDK."""
    found: Sdk = request.param
    return found


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_conversation(director: Director, sdk: Sdk, scenario: Scenario) -> None:
    """Each conversation of the table goes as it must, for the application and at Google's end."""
    director.perform(sdk, scenario, director.stage.secure_url)


def test_a_refusal_is_an_api_error_with_code_and_reason(director: Director, sdk: Sdk) -> None:
    """What a policy forbids raises the SDK's own APIError, with the relay's close code and its reason."""
    (scenario,) = [scenario for scenario in SCENARIOS if scenario.name == "system instruction refused"]
    failure = director.perform(sdk, scenario, director.stage.secure_url).failure
    assert failure == {"type": "APIError", "code": 1008, "message": f"1008 None. {scenario.refusal}"}


def test_paths(director: Director, sdk: Sdk) -> None:
    """The path the SDK makes of a base URL is served: each version's own, with a slash at its end, below a prefix."""
    check_target(director, sdk, director.stage.secure_url)
    check_target(director, sdk, director.stage.prefixed_url)


def test_wrong_key(director: Director, sdk: Sdk) -> None:
    """A wrong key is refused with 401 before the upgrade, as the SDK's WebSocket library says it."""
    words = check_wrong_key(director, sdk, director.stage.secure_url)
    assert words == "InvalidStatus: server rejected WebSocket connection: HTTP 401"


def test_resumption(director: Director, sdk: Sdk) -> None:
    """A session is resumed by the handle the SDK was given."""
    check_resumption(director, sdk, director.stage.secure_url)

"""Token counts with the real service's oddities."""

from relay.sim.conversation import Conversation, Utterance
from relay.sim.families import Backend, family_of
from relay.sim.usage import Spoken, usage_metadata

TALK = Conversation("m").say(Utterance("user", "", text_tokens=10, audio_tokens=50, image_tokens=258))


def usage(model: str, backend: Backend = Backend.DEV) -> dict[str, object]:
    """The bill for a turn of 40 audio tokens."""
    prefix = "models/" if backend is Backend.DEV else "publishers/google/models/"
    family = family_of(prefix + model, backend)
    assert family is not None
    return usage_metadata(TALK, "be brief", Spoken(audio_tokens=40), family, backend)


def test_details_need_not_sum_and_thoughts_stand_outside() -> None:
    """3.8: the prompt count exceeds its details, the total is prompt plus response, thoughts are beside it."""
    bill = usage("gemini-3.8-live")

    assert bill == {
        "promptTokenCount": 345,
        "responseTokenCount": 40,
        "totalTokenCount": 385,
        "promptTokensDetails": [
            {"modality": "TEXT", "tokenCount": 12},
            {"modality": "AUDIO", "tokenCount": 50},
            {"modality": "IMAGE", "tokenCount": 258},
        ],
        "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": 40}],
        "thoughtsTokenCount": 17,
    }


def test_a_response_can_exceed_its_details() -> None:
    """3.1 counts more response tokens than its details show."""
    bill = usage("gemini-3.1-flash-live-preview")

    assert bill["responseTokenCount"] == 52
    assert bill["responseTokensDetails"] == [{"modality": "AUDIO", "tokenCount": 40}]
    assert "thoughtsTokenCount" not in bill


def test_vertex_uses_other_names() -> None:
    """candidates instead of response, and a traffic type."""
    bill = usage("gemini-live-2.5-flash", Backend.VERTEX)

    assert bill["candidatesTokenCount"] == 40
    assert bill["candidatesTokensDetails"] == [{"modality": "AUDIO", "tokenCount": 40}]
    assert bill["trafficType"] == "ON_DEMAND"
    assert "responseTokenCount" not in bill

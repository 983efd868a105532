"""The prices the relay comes with, in US dollars for a million tokens; relay.yaml may add rows and replace them.

From Google's pricing page of 2026-10-09. A row is found by the beginning of a model's id, see `relay.core.prices`.
"""

from typing import Any

AS_OF = "2026-10-09"
CURRENCY = "USD"

_LIVE: dict[str, Any] = {
    "input": {"text": "0.75", "audio": "3.00", "image": "1.00", "video": "1.00"},
    "output": {"text": "4.50", "audio": "12.00", "video": "1.00"},
}
_NATIVE_AUDIO: dict[str, Any] = {
    "input": {"text": "0.50", "audio": "3.00", "image": "3.00", "video": "3.00"},
    "output": {"text": "2.00", "audio": "12.00"},
}
_SPEECH: dict[str, Any] = {
    "input": {"text": "3.50", "audio": "3.50"},
    "output": {"text": "21.00", "audio": "21.00"},
}

PRICE_LIST: dict[str, dict[str, Any]] = {
    "gemini-3.8-live": _LIVE,
    "gemini-3.1-flash-live": _LIVE,
    "gemini-2.5-flash-native-audio": _NATIVE_AUDIO,
    "gemini-live-2.5-flash-native-audio": _NATIVE_AUDIO,
    # Translation was seen to report running totals (kazunori279/interpretab#12, #16), where dialogue reports turns.
    "gemini-3.5-live-translate": {**_SPEECH, "usage": "cumulative"},
    "gemini-3.5-transcribe-live": _SPEECH,
}
"""`prices.models` as it is when relay.yaml says nothing."""

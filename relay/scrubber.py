"""Masks secrets in texts that are about to be printed: those we know, however they are encoded, and look-alikes.

The second line of defence. The first is that secrets travel as `relay.core.secret.Secret`; this one is for what comes
back from outside, such as Google's words for why it closed.
"""

import base64
import math
import re
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

from structlog.typing import EventDict, WrappedLogger

from relay.core.secret import MASK, Secret

_MIN_SECRET_CHARACTERS = 8
_PREFIX_CHARACTERS = 12
"""A reason is cut at 123 bytes, so a secret may come in part; this much of its beginning counts as the secret."""

_MAX_LEARNED = 8

_KEY_SHAPES = re.compile(
    r"AIza[\w-]{10,}|auth_tokens(?:/|%2[Ff])[\w-]+|eyJ[\w-]{8,}\.[\w.-]+|ya29\.[\w.~+/=-]+"
    r"|(?i:bearer|token) [\w.~+/=-]{8,}"
)
"""What a Google API key, a ticket, a JWT, an access token and a credential header look like, known to us or not."""

_RUN = re.compile(r"[\w.~+/=%-]{12,}")
"""Where a secret, or what encodes one, may stand."""
_REST = r"[\w.~+/=%-]*"


class Scrubber:
    """Replaces known secrets, their beginnings and anything shaped like a Google credential."""

    def __init__(self, secrets: Iterable[Secret]) -> None:
        self._given = list(secrets)
        self._learned: deque[Secret] = deque(maxlen=_MAX_LEARNED)
        self._know()

    def learn(self, secret: Secret) -> None:
        """Mask one more; of those learned in this way the last few are kept, because old ones have expired."""
        if secret not in self._learned:
            self._learned.append(secret)
            self._know()

    def _know(self) -> None:
        known = {form for secret in (*self._given, *self._learned) for form in _forms(secret.reveal())}
        # Long beginnings are looked up, so that it makes no difference how many there are; odd ones are searched for.
        self._beginnings = {form for form in known if _RUN.fullmatch(form)}
        odd = "|".join(re.escape(form) + _REST for form in sorted(known - self._beginnings))
        self._odd = re.compile(odd) if odd else None

    def scrub(self, text: str) -> str:
        """The text with every secret masked."""
        text = _RUN.sub(self._masked, text)
        if self._odd is not None:
            text = self._odd.sub(MASK, text)
        return _KEY_SHAPES.sub(MASK, text)

    def _masked(self, run: re.Match[str]) -> str:
        """A run of characters up to where a secret begins in it: where that one ends is not known."""
        text = run[0]
        for start in range(len(text) - _PREFIX_CHARACTERS + 1):
            if text[start : start + _PREFIX_CHARACTERS] in self._beginnings:
                return text[:start] + MASK
        return text

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        """A structlog processor."""
        return {self.scrub(key): self._clean(value) for key, value in event.items()}

    def _clean(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.scrub(value)
        if isinstance(value, dict):
            return {self.scrub(str(key)): self._clean(entry) for key, entry in value.items()}
        if isinstance(value, list | tuple):
            return [self._clean(entry) for entry in value]
        return value


def _forms(secret: str) -> Iterator[str]:
    """What betrays a secret: its beginning, as it is, percent-coded, in hex, and in base64 wherever that begins."""
    if len(secret) < _MIN_SECRET_CHARACTERS:
        return
    raw = secret.encode("utf-8", "surrogatepass")
    whole = [secret, quote(raw, safe=""), raw.hex(), raw.hex().upper()]
    for before in range(3):
        skipped = math.ceil(4 * before / 3)
        sure = (before + len(raw)) * 8 // 6  # what follows the secret has a part in the next character
        coded = base64.b64encode(b"\0" * before + raw).decode()[skipped:sure]
        whole += [coded, coded.replace("+", "-").replace("/", "_")]
    yield from (form[:_PREFIX_CHARACTERS] for form in whole)

"""Loaded by every Python process that a test starts with `canary.environment`: notes the secrets a relay holds.

The file it writes is the test's own; `tests.canary` looks for what stands in it in everything the relay wrote.
"""

import os

if "CANARY_FILE" in os.environ:
    from relay.core import secret

    _make = secret.Secret.__init__
    _noted: set[str] = set()

    def _make_and_note(self: secret.Secret, text: str) -> None:
        _make(self, text)
        if len(text) >= 12 and text not in _noted:
            _noted.add(text)
            with open(os.environ["CANARY_FILE"], "ab") as file:  # noqa: PTH123 - pathlib would have to be imported into every process
                file.write(text.encode("utf-8", "replace").hex().encode() + b"\n")

    secret.Secret.__init__ = _make_and_note  # type: ignore[method-assign]

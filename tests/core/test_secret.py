"""A secret's text comes out by `reveal()` and in no other way; and what is confidential in our data is never shown."""

import copy
import dataclasses
import importlib
import json
import logging
import pickle
import pkgutil
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest
import structlog

import relay
from relay.core.secret import MASK, NOTHING, Secret

TEXT = "the text that nobody may print"

pytestmark = pytest.mark.threat("A1", "A4")


@dataclasses.dataclass(frozen=True)
class Holder:
    """Something of ours with a secret in it."""

    secret: Secret


PRINTERS: dict[str, Callable[[Secret], object]] = {
    "repr": repr,
    "str": str,
    "format": lambda secret: f"{secret} {secret!r} {secret!s} {secret:>99} {'{0}'.format(secret)}",  # noqa: UP030, UP032
    "percent": lambda secret: "%s %r %a" % (secret, secret, secret),  # noqa: UP031
    "in a list": lambda secret: str([secret, {secret: secret}]),
    "in a dataclass": lambda secret: f"{Holder(secret)} {dataclasses.asdict(Holder(secret))}",
    "in an exception": lambda secret: "".join(traceback.format_exception(ValueError(secret, Holder(secret)))),
    "pickled": pickle.dumps,
    "pickled, by the oldest protocol": lambda secret: pickle.dumps(secret, 0),
    "read back": lambda secret: pickle.loads(pickle.dumps(secret)).reveal(),
    "vars": lambda secret: (dir(secret), getattr(secret, "__dict__", None)),
    "a log record": lambda secret: logging.LogRecord("n", 20, "p", 1, "m %s", (secret,), None).getMessage(),
    "structlog": lambda secret: structlog.processors.JSONRenderer()(None, "", {"event": "e", "secret": secret}),
}


@pytest.mark.parametrize("printer", PRINTERS.values(), ids=PRINTERS.keys())
def test_no_printer_shows_it(printer: Callable[[Secret], object]) -> None:
    """Whatever turns it into text."""
    printed = printer(Secret(TEXT))

    assert TEXT not in str(printed)
    assert TEXT.encode().hex() not in str(printed)


@pytest.mark.parametrize("encode", [json.dumps, orjson.dumps])
def test_it_is_no_json(encode: Callable[[object], object]) -> None:
    """An encoder refuses it, without quoting it."""
    with pytest.raises(TypeError) as refused:
        encode({"key": Secret(TEXT)})
    assert TEXT not in str(refused.value)


def test_it_reveals_itself_when_asked() -> None:
    """The whole text, to whoever says so; a copy is the same secret."""
    secret = Secret(TEXT)

    assert secret.reveal() == TEXT
    assert copy.copy(secret) is secret
    assert copy.deepcopy([secret])[0] is secret
    assert f"{secret}" == MASK


def test_secrets_compare_with_secrets() -> None:
    """By their text, in constant time; a plain text is never equal to one. Lone surrogates are no exception."""
    assert Secret(TEXT) == Secret(TEXT)
    assert Secret(TEXT) != Secret(TEXT + "x")
    assert Secret(TEXT) != TEXT
    assert Secret("\udcff") == Secret("\udcff")
    assert len({Secret(TEXT), Secret(TEXT), Secret("other")}) == 2
    assert not NOTHING
    assert Secret("x")


@pytest.mark.parametrize("change", [lambda s: setattr(s, "text", ""), lambda s: delattr(s, "_Secret__text")])
def test_it_does_not_change(change: Callable[[Secret], None]) -> None:
    """It may be handed on without a thought."""
    with pytest.raises(AttributeError):
        change(Secret(TEXT))


CONFIDENTIAL = frozenset(
    {
        *("secret", "key", "password", "token", "credential", "handle"),
        *("payload", "body", "setup", "record", "enforce", "defaults", "output_text", "demo"),
    }
)
"""Names of fields that hold what nobody may print, unless the field's type says otherwise."""

HARMLESS = {
    "relay.core.ledger.Row.key",  # a day, a model or a session
    "relay.net.spool.Item.key",  # a session's id
    "relay.web.Asset.body",  # a page that everybody may read
}


def _dataclasses() -> Iterator[tuple[str, type[Any]]]:
    for module in pkgutil.walk_packages(relay.__path__, "relay."):
        if module.name.startswith(("relay.sim", "relay.config", "relay.__main__")):
            continue  # the simulator is a tool of its own; pydantic masks what is in the configuration
        loaded = importlib.import_module(module.name)
        for value in vars(loaded).values():
            if isinstance(value, type) and dataclasses.is_dataclass(value) and value.__module__ == module.name:
                yield module.name, value


def test_no_dataclass_shows_what_is_confidential() -> None:
    """A field with such a name is a Secret, or is left out of the `repr`."""
    fields = [
        (f"{module}.{kind.__name__}.{field.name}", field)
        for module, kind in _dataclasses()
        for field in dataclasses.fields(kind)
        if field.name in CONFIDENTIAL
    ]
    assert len(fields) > 20, "they were found"
    assert {name for name, field in fields if field.repr and field.type is not Secret} == HARMLESS

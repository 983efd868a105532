"""What comes back from a ticket's store: what we wrote means what it meant, and anything else is refused."""

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relay.core.ledger import LedgerError
from relay.core.policy import Behaviour, Messages, Models, Policy, SetupRules
from relay.core.tickets import Allotment, Stub
from relay.net.tickets import MAX_USES, grant_of, id_of, mint

NOW = 1_795_608_000.0
POLICY = Policy(
    "p",
    Models("models/m", frozenset()),
    setup=SetupRules(allow=frozenset({"*"})),
    messages=Messages(),
    behaviour=Behaviour(),
)
BODY = {
    "uses": 3,
    "bidiGenerateContentSetup": {"generationConfig": {"temperature": 0.5}},
    "fieldMask": "generationConfig.temperature,tools",
    "relay": {"endUser": "eva", "labels": {"a": "b"}, "limits": {"seconds": 60, "tokens": 5, "money": "0.25"}},
}


def _stub(body: dict[str, Any] | None = None) -> Stub:
    return replace(mint(json.dumps(body or BODY).encode(), "acme", POLICY, NOW).stub, issued_at=NOW)


def test_what_was_minted_means_what_it_said() -> None:
    """Every field comes back."""
    tenant, grant = grant_of("id", _stub())
    assert (tenant, grant.end_user, grant.labels) == ("acme", "eva", {"a": "b"})
    assert grant.allotment == Allotment(60.0, 5, 250_000_000)
    assert grant.constraint is not None
    assert grant.constraint.mask == ("generationConfig.temperature", "tools")
    assert grant_of("id", _stub({"fieldMask": "tools"}))[1].constraint is not None
    assert grant_of("id", _stub({"uses": 0}))[1].constraint is None


@pytest.mark.threat("E6")
def test_a_ticket_is_256_random_bits_and_stored_as_their_hash() -> None:
    """No two are alike, and neither the record nor the id shows the name."""
    names = set()
    for _ in range(200):
        minted = mint(b"", "acme", POLICY, NOW)
        secret = minted.name.reveal().removeprefix("auth_tokens/")
        assert len(secret) * 6 >= 256
        assert minted.id == id_of(minted.name)
        assert secret not in minted.id + minted.stub.record
        names.add(minted.name.reveal())
    assert len(names) == 200


RECORD = json.loads(_stub().record)


@pytest.mark.threat("E10")
@pytest.mark.parametrize(
    "change",
    [
        *({"record": text} for text in ("", "{", "null", "[]", "1", '"x"', "[" * 100_000, '{"tenant": "acme"}')),
        *({"record": json.dumps({name: value for name, value in RECORD.items() if name != gone})} for gone in RECORD),
        {"record": RECORD | {"tenant": None}},
        {"record": RECORD | {"tenant": ["acme"]}},
        {"record": RECORD | {"end_user": "a\nb"}},
        {"record": RECORD | {"end_user": 7}},
        {"record": RECORD | {"labels": {"a b": "c"}}},
        {"record": RECORD | {"labels": {"a": 1}}},
        {"record": RECORD | {"labels": []}},
        {"record": RECORD | {"limits": None}},
        {"record": RECORD | {"limits": {"tokens": -1}}},
        {"record": RECORD | {"limits": {"tokens": "many"}}},
        {"record": RECORD | {"limits": {"tokens": True}}},
        {"record": RECORD | {"limits": {"seconds": math.nan}}},
        {"record": RECORD | {"limits": {"seconds": math.inf}}},
        {"record": RECORD | {"limits": {"wishes": 3}}},
        {"record": RECORD | {"setup": {"nope": 1}}},
        {"record": RECORD | {"setup": []}},
        {"record": RECORD | {"setup": {"model": 1}}},
        {"record": RECORD | {"mask": ["nope"]}},
        {"record": RECORD | {"mask": [1]}},
        {"record": RECORD | {"mask": None}},
        {"uses": -1},
        {"uses": MAX_USES + 1},
        {"expires_at": NOW + 400 * 86_400.0},
        {"expires_at": math.nan},
        {"expires_at": math.inf},
        {"issued_at": 0.0},
        {"issued_at": math.nan},
    ],
    ids=lambda change: str(change)[:60],
)
def test_a_record_that_we_did_not_write_is_refused(change: dict[str, Any]) -> None:
    """As an error of the store, without a word of what it held."""
    change = {
        name: value if name != "record" or type(value) is str else json.dumps(value) for name, value in change.items()
    }
    with pytest.raises(LedgerError) as refused:
        grant_of("id", replace(_stub(), **change))
    assert str(refused.value) == "a stored ticket can't be read"
    assert refused.value.__cause__ is None


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.threat("E10")
@given(st.sampled_from(sorted(RECORD)), JSON, st.text(max_size=30))
@example("setup", {}, "")
def test_any_record_is_a_grant_or_refused(name: str, value: Any, noise: str) -> None:
    """Whatever stands in one field, or in place of all of them."""
    for record in (json.dumps(RECORD | {name: value}), noise):
        try:
            tenant, grant = grant_of("id", replace(_stub(), record=record))
        except LedgerError:
            continue
        assert type(tenant) is str
        assert all(limit is None or 0 < limit < math.inf for limit in (grant.allotment.seconds, grant.allotment.tokens))
        assert grant.end_user.isprintable()

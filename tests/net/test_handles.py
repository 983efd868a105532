"""Resumption handles as clients see them: sealed, bound, expiring."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.downstream import Ticket
from relay.core.secret import Secret
from relay.net.handles import HandleSealer

GOOGLES = "95e91930-b35b-482b-8880-17efc49ec2f2"
MODEL = "models/gemini-3.8-live"
TICKET = Ticket(Secret(GOOGLES), "s1", 2, 17)


class Clock:
    """Wall time that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def a_sealer(
    secret: str = "secret", clock: Callable[[], float] | None = None, account: str = "account"
) -> HandleSealer:
    """One whose handles live for a minute."""
    return HandleSealer(Secret(secret), 60.0, clock or Clock(), Secret(account))


@pytest.mark.threat("E6")
def test_a_handle_comes_back_for_its_tenant_policy_and_model_only() -> None:
    """A stolen handle is useless to anybody else, and under any other policy or model."""
    sealer = a_sealer()
    sealed = sealer.bound("acme", "guided").seal(TICKET, MODEL)

    assert GOOGLES not in sealed
    assert sealer.bound("acme", "guided").unseal(sealed, MODEL) == TICKET
    assert sealer.bound("other", "guided").unseal(sealed, MODEL) is None
    assert sealer.bound("acme", "open").unseal(sealed, MODEL) is None
    assert sealer.bound("acme", "guided").unseal(sealed, "models/other") is None


def test_a_model_s_name_may_hold_anything() -> None:
    """With `*` allowed a client may name any model; its handle is for that one all the same, and for no other."""
    handles = HandleSealer(Secret("secret"), 60.0, Clock(), Secret("account")).bound("acme", "guided")
    sealed = handles.seal(TICKET, "models/two\nlines")

    assert handles.unseal(sealed, "models/two\nlines") == TICKET
    assert handles.unseal(sealed, "models/two") is None


def test_a_handle_of_an_earlier_version_is_none() -> None:
    """What was sealed with the same secret and says something else."""
    sealer = HandleSealer(Secret("secret"), 60.0, Clock(), Secret("account"))
    handles = sealer.bound("acme", "guided")
    sealed = sealer.seal(f"{MODEL}\ns1\n2\n17\n{GOOGLES}", handles._owner)

    assert handles.unseal(sealed, MODEL) is None


@pytest.mark.threat("E6")
def test_owner_names_can_not_be_shifted_into_each_other() -> None:
    """`a|bc` and `ab|c` are different owners."""
    sealer = a_sealer()
    sealed = sealer.bound("a", "bc").seal(TICKET, MODEL)

    assert sealer.bound("ab", "c").unseal(sealed, MODEL) is None


def test_any_process_with_the_same_secret_can_open_it() -> None:
    """Replicas share the secret, not memory."""
    sealed = a_sealer().bound("a", "p").seal(TICKET, MODEL)

    assert a_sealer().bound("a", "p").unseal(sealed, MODEL) == TICKET
    assert a_sealer(secret="other!").bound("a", "p").unseal(sealed, MODEL) is None


def test_a_handle_is_bound_to_the_account_at_google() -> None:
    """Gemini's handle inside is of no use with another key or project, and nobody is to find out by trying."""
    sealed = a_sealer().bound("a", "p").seal(TICKET, MODEL)

    assert a_sealer(account="another").bound("a", "p").unseal(sealed, MODEL) is None


def test_a_handle_has_no_dot() -> None:
    """A dot ends it: clients append how many messages they got since."""
    bound = a_sealer().bound("a", "p")

    assert all("." not in bound.seal(TICKET, MODEL) for _ in range(50))


@pytest.mark.threat("E6")
def test_a_handle_expires() -> None:
    """After its lifetime it opens no more."""
    clock = Clock()
    bound = a_sealer(clock=clock).bound("a", "p")
    sealed = bound.seal(TICKET, MODEL)
    clock.now += 59
    assert bound.unseal(sealed, MODEL) == TICKET
    clock.now += 1

    assert bound.unseal(sealed, MODEL) is None


@pytest.mark.threat("E6")
@given(st.text(max_size=100))
def test_anything_else_opens_to_nothing(text: str) -> None:
    """Guesses, garbage and other alphabets are no handles and raise nothing."""
    assert a_sealer().bound("a", "p").unseal(text, MODEL) is None


@pytest.mark.threat("E6")
@pytest.mark.parametrize("position", [0, 5, 20, -1])
def test_a_changed_handle_does_not_open(position: int) -> None:
    """Every byte is authenticated."""
    bound = a_sealer().bound("a", "p")
    sealed = bytearray(bound.seal(TICKET, MODEL).encode())
    sealed[position] = ord("A") if sealed[position] != ord("A") else ord("w")

    assert bound.unseal(sealed.decode(), MODEL) is None

"""What the simulated model remembers."""

from relay.sim.conversation import Conversation, Utterance, audio_tokens, text_tokens


def test_saying_something_leaves_the_old_conversation_as_it_was() -> None:
    """A conversation is immutable: a handle can keep it."""
    before = Conversation("m")

    after = before.say(Utterance("user", "hello", text_tokens=2))

    assert (before.tokens, after.tokens) == (0, 2)


def test_compression_drops_the_oldest() -> None:
    """What remains is the newest that fits."""
    conversation = Conversation("m")
    for number in range(10):
        conversation = conversation.say(Utterance("user", str(number), text_tokens=10))

    assert [entry.text for entry in conversation.compressed(35).utterances] == ["7", "8", "9"]


def test_tokens_are_counted_by_rule_of_thumb() -> None:
    """Four characters or 40 ms make a token."""
    assert (text_tokens(""), text_tokens("abcd"), text_tokens("abcde")) == (0, 1, 2)
    assert (audio_tokens(0), audio_tokens(1.0), audio_tokens(1.01)) == (0, 25, 26)


def test_what_the_user_said_is_remembered_in_order() -> None:
    """Only the user's words, oldest first."""
    conversation = (
        Conversation("m").say(Utterance("user", "a")).say(Utterance("model", "b")).say(Utterance("user", "c"))
    )

    assert conversation.heard_before() == ["a", "c"]

"""What the simulated model says."""

from relay.sim import replies
from relay.sim.conversation import Conversation, Utterance
from relay.sim.replies import Heard

TALK = Conversation("models/gemini-3.8-live", turns=3).say(Utterance("user", "my name is Ana"))


def test_a_greeting_is_answered_with_one() -> None:
    """It greets, says that it is the simulator, and which model and voice it plays."""
    words = replies.answer(Heard("Hello there"), TALK, 1, "Kore")

    assert words.startswith("Hello!")
    assert "simulator" in words
    assert "gemini-3.8-live" in words
    assert "Kore" in words


def test_other_words_are_echoed_with_the_turn() -> None:
    """It repeats what it was told, shortened, and names the turn and a later connection."""
    words = replies.answer(Heard("the weather is fine"), TALK, 2, "Kore")

    assert "the weather is fine" in words
    assert "turn 3, on connection 2" in words
    assert len(replies.answer(Heard("word " * 1_000), TALK, 1, "Kore")) < 300


def test_it_remembers_what_was_said() -> None:
    """Asked for it, it tells what the user said before: proof that a session was taken up again."""
    talk = TALK.say(Utterance("user", "what did I say?"))

    assert "my name is Ana" in replies.answer(Heard("what did I say?"), talk, 1, "Kore")
    assert "nothing before" in replies.answer(Heard("what did I say?"), Conversation("m"), 1, "Kore")


def test_speech_and_pictures_are_acknowledged() -> None:
    """It says how much speech it heard and how many pictures it saw."""
    words = replies.answer(Heard(speech_s=1.84, pictures=2), TALK, 1, "Kore")

    assert "1.8 seconds of speech" in words
    assert "2 pictures" in words
    assert "I am listening." in replies.answer(Heard(), TALK, 1, "Kore")


def test_functions_answers_are_told() -> None:
    """The reply after a tool call names the function and what it said."""
    assert "get_weather answered fog" in replies.answer_to_tools([("get_weather", "fog")], TALK, 1)

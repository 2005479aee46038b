"""What the model sees of a conversation, and what is kept of it."""

from dataclasses import dataclass

import pytest

from affinage.app.conversation import (
    Given,
    Turn,
    as_jsonl,
    earlier,
    fitting,
    messages_of,
    saved,
    training_rows,
)
from affinage.chat import Drawing


@dataclass
class Counting:
    """A speaker whose every word is a token."""

    context_length: int = 40
    name: str = "counting"

    def count(self, text):
        return len(text.split())

    def length(self, messages):
        return sum(self.count(message["content"]) for message in messages)


def turn(question, instruction="", **answers):
    return Turn(question, instruction, {side: Given(text, "end") for side, text in answers.items()})


def test_each_side_remembers_its_own_answers_and_the_other_ones_where_it_said_nothing():
    turns = [turn("q1", base="b1", tuned="t1"), turn("q2", base="b2")]
    contents = [message["content"] for message in messages_of(turns, "tuned", "", "q3")]
    assert contents == ["q1", "t1", "q2", "b2", "q3"]
    assert messages_of([], "base", "sois bref", "q")[0] == {"role": "system", "content": "sois bref"}


def test_what_was_said_with_another_instruction_or_never_answered_is_not_remembered():
    failed = Turn("q3", "b", {"tuned": Given("un d", error="out of memory", stop="failed")})
    turns = [turn("q1", "a", tuned="1"), turn("q2", "b", tuned="2"), failed, turn("q4", "b", tuned="4")]
    assert [one.question for one in earlier(turns, "b")] == ["q2", "q4"]
    assert earlier(turns, "c") == [] and earlier([], "") == []


@pytest.mark.parametrize(("longest", "forgotten"), [(10, 0), (1000, 0), (None, 0)])
def test_a_conversation_that_fits_is_whole(longest, forgotten):
    turns = [turn("un deux", tuned="trois quatre")]
    messages, left_out = fitting(Counting(), turns, "tuned", Turn("cinq"), longest)
    assert (len(messages), left_out) == (3, forgotten)


def test_the_oldest_turns_go_first_so_that_a_quarter_of_the_context_is_left_for_the_answer():
    speaker, turns = Counting(), [turn(f"q{n} " * 5, tuned="a " * 5) for n in range(5)]
    new = Turn("la question même", "la consigne")
    messages, left_out = fitting(speaker, turns, "tuned", new, 1000)
    assert left_out == 3 and messages[1]["content"].startswith("q3")
    assert speaker.length(messages) + 10 <= 40 < speaker.length(messages) + 10 + 10
    everything, none = fitting(speaker, turns, "tuned", Turn("mot " * 100), 10)
    assert len(everything) == 1 and none == 5  # the speaker itself will say that it is too long


def test_only_answers_that_ended_by_themselves_are_rows_and_the_others_are_counted():
    turns = [turn("q1", "consigne", tuned="t1", base="b1"), turn("q2", "consigne", tuned="t2")]
    turns[0].answers["base"].stop = "length"
    turns.append(Turn("q3", "consigne", {"tuned": Given("", "end")}))
    rows, left_out = training_rows({"base": Counting(), "tuned": Counting()}, turns)
    assert left_out == 2
    assert [(row["instruction"], row["output"], row["model"]) for row in rows] == [
        ("consigne", "t1", "tuned"),
        ("consigne", "t2", "tuned"),
    ]
    assert rows[1]["input"] == "User: q1\n\nAssistant: t1\n\nUser: q2" and rows[1]["turns_before"] == 1
    assert as_jsonl(rows).count("\n") == 2


def test_a_question_asked_alone_is_a_row_of_its_own():
    turns = [turn("q1", tuned="t1"), turn("q2", tuned="t2")]
    turns[1].alone = True
    rows, _ = training_rows({"tuned": Counting()}, turns)
    assert [row["instruction"] for row in rows] == ["q1", "q2"]


def test_what_is_saved_says_how_each_answer_was_drawn_and_ended():
    one = turn("q", tuned="t")
    one.answers["tuned"].drawing = Drawing(temperature=0.5).model_dump(exclude_none=True)
    kept = saved([one], "a model")
    assert kept["model"] == "a model" and kept["turns"][0]["answers"]["tuned"]["drawing"] == {"temperature": 0.5}
    assert kept["turns"][0]["answers"]["tuned"]["stop"] == "end"

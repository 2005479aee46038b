"""Answers in pieces against whole ones: the same text, nothing torn, one at a time, stopped when asked to."""

import runpy
import threading
from pathlib import Path

import pytest
import torch

from affinage.answering import Answerer
from affinage.errors import AffinageError
from affinage.generation import answers
from affinage.runs import Run

make = runpy.run_path(str(Path(__file__).with_name("talking_models.py")))
PROMPTS = ["le chat mange", "### Response:\n"]


@pytest.fixture
def talking(llm_config, affinage):
    def made(architecture="llama", tokenizer="plain", **options):
        config = llm_config(architecture, tokenizer)
        return make["answerer"](config["base_model"], config, **options)

    return made


def whole(answerer, side, prompt, **changes):
    """The answer by the function that the predictions of a run come from."""
    with answerer.model(side) as model:
        found = answers(model, [answerer.encode(prompt)], answerer.settings(**changes), answerer.context_length)[0]
    return answerer.tokenizer.decode(found.ids, skip_special_tokens=True), found.stop, len(found.ids)


def streamed(answerer, side, prompt, stops=(), seed=None, **changes):
    stream = answerer.ask(side, answerer.encode(prompt), answerer.settings(**changes), stops, seed)
    return list(stream), stream.ending


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        (("llama", "plain"), {}),
        (("llama", "bos"), {"num_beams": 3}),
        (("gpt2", "no_pad"), {}),
        (("gpt2", "no_pad"), {"max_new_tokens": 3}),
    ],
)
def test_the_pieces_make_up_the_answer_that_predictions_have(talking, kind, changes):
    answerer, differ = talking(*kind), False
    for prompt in PROMPTS:
        texts = []
        for side in ("base", "tuned"):
            pieces, ending = streamed(answerer, side, prompt, **changes)
            text, stop, tokens = whole(answerer, side, prompt, **changes)
            assert ("".join(pieces), ending.text, ending.stop, ending.tokens) == (text, text, stop, tokens)
            assert ending.prompt_tokens == len(answerer.encode(prompt))
            texts.append(text)
        differ = differ or texts[0] != texts[1]
    assert differ


def test_a_seed_repeats_a_sampled_answer_and_another_one_changes_it(talking):
    answerer = talking()
    drawn = [streamed(answerer, "tuned", "le chat", seed=seed, temperature=1.0)[1].text for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert streamed(answerer, "tuned", "le chat", temperature=0)[1].text == whole(answerer, "tuned", "le chat")[0]


def test_no_piece_is_taken_back_whatever_is_drawn(talking):
    """Random bytes, of which many are no character yet."""
    answerer = talking(max_new_tokens=60)
    for seed in range(5):
        pieces, ending = streamed(answerer, "tuned", "chat", seed=seed, temperature=3.0)
        assert "".join(pieces) == ending.text
        assert not any(piece.endswith("\ufffd") for piece in pieces[:-1])


@pytest.fixture
def says(monkeypatch):
    """Lets the model say a text, a byte of a letter with an accent at a time."""

    def text(answerer, answer):
        ids = answerer.tokenizer.encode(answer, add_special_tokens=False)

        def run(stream, model):
            for token in ids:
                if not stream._asked_to_stop(torch.zeros(1), None).any():
                    stream._put(token)

        monkeypatch.setattr("affinage.answering.AnswerStream._run", run)

    return text


def test_a_stop_text_ends_the_answer_before_it_wherever_tokens_end(talking, says):
    answerer, text = talking(), "Où l'été — 日本 🦊 s'éteint, l'été s'étend."
    says(answerer, text)
    for length in (1, 3):
        for start in range(len(text) - length + 1):
            stop = text[start : start + length]
            pieces, ending = streamed(answerer, "tuned", "chat", ["absent", stop, stop + "absent"])
            first = text.partition(stop)[0]
            assert ("".join(pieces), ending.text, ending.stop) == (first, first, "stop")
    pieces, ending = streamed(answerer, "tuned", "chat", ["tend.absent", "l'hiver"])
    assert "".join(pieces) == ending.text == text and ending.stop != "stop"


def test_a_stop_text_ends_the_work_of_the_model_too(talking):
    answerer = talking(max_new_tokens=200)
    text = whole(answerer, "tuned", "le chat", min_new_tokens=200)[0]
    stop = next(text[i : i + 2] for i in range(4, len(text)) if "\ufffd" not in text[i : i + 2])
    ending = streamed(answerer, "tuned", "le chat", [stop], min_new_tokens=200)[1]
    assert (ending.text, ending.stop) == (text.partition(stop)[0], "stop")
    assert ending.tokens < 100


def test_a_cancelled_answer_ends_at_once_and_leaves_the_model_free(talking):
    answerer = talking(max_new_tokens=200)
    expected = whole(answerer, "tuned", "le chat")[0]
    stream = answerer.ask("base", answerer.encode("le chat"), answerer.settings(min_new_tokens=200))
    shown = stream.next_piece()
    stream.cancel()
    shown += "".join(stream)
    assert stream.ending.stop == "cancelled" and stream.ending.tokens < 100
    assert stream.ending.text == shown
    assert streamed(answerer, "tuned", "le chat")[1].text == expected


def test_an_answer_cancelled_before_its_turn_is_not_generated(talking):
    answerer = talking()
    stream = answerer.ask("base", answerer.encode("le chat"), answerer.settings())
    stream.cancel()
    assert list(stream) == [] and stream.ending.tokens == 0 and stream.ending.stop == "cancelled"


def test_base_and_tuned_asked_at_the_same_time_answer_as_each_does_alone(talking):
    answerer = talking()
    alone = {side: whole(answerer, side, "le chat mange")[0] for side in ("base", "tuned")}
    assert alone["base"] != alone["tuned"]
    found = []

    def ask(side):
        found.append((side, streamed(answerer, side, "le chat mange")[1].text))

    threads = [threading.Thread(target=ask, args=(side,)) for side in ("base", "tuned") * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted((side, alone[side]) for side in ("base", "tuned") * 4)


def test_a_prompt_that_fills_the_context_is_refused_and_one_below_gets_one_token(talking):
    answerer = talking()
    prompt = " le" * 400
    n = len(answerer.tokenizer.encode(prompt))
    with pytest.raises(AffinageError, match=rf"{n} tokens.*at most 255"):
        answerer.encode(prompt)
    answerer.tokenizer.model_max_length = 200
    with pytest.raises(AffinageError, match=rf"{n} tokens.*at most 199"):
        answerer.encode(prompt)
    ids = answerer.tokenizer.encode(prompt)[:255]
    stream = answerer.ask("tuned", ids, answerer.settings(max_new_tokens=50, min_new_tokens=50))
    list(stream)
    assert (stream.ending.tokens, stream.ending.stop) == (1, "length")


def test_what_the_model_raises_is_raised_where_the_answer_is_read(talking, monkeypatch):
    answerer = talking()
    with answerer.model("tuned") as model:
        monkeypatch.setattr(model, "generate", lambda **_: torch.zeros(2) @ torch.zeros(3))
    with pytest.raises(RuntimeError, match="size"):
        streamed(answerer, "tuned", "le chat")
    monkeypatch.undo()
    assert streamed(answerer, "tuned", "le chat")[1].text


def test_a_run_without_a_model_says_how_to_finish_it(tmp_path):
    with pytest.raises(AffinageError, match=r"left no model behind \(status: interrupted\).*RESUME=r1"):
        Answerer.of_run(Run(tmp_path / "r1", {"status": "interrupted"}))

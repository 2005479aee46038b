"""Speakers against what stands behind them: the Answerer's own answers, and servers that speak both protocols."""

import runpy
from pathlib import Path

import pytest

from affinage.answering import SIDES
from affinage.chat import Drawing
from affinage.chat_template import conversation_text
from affinage.errors import AffinageError
from affinage.speakers.local import LocalSpeaker
from affinage.speakers.remote import RemoteSpeaker, ollama_speaker, openai_speaker
from affinage.speakers.speech import patiently

make = runpy.run_path(str(Path(__file__).with_name("talking_models.py")))
OllamaServer = runpy.run_path(str(Path(__file__).with_name("ollama_server.py")))["OllamaServer"]
Endpoint = runpy.run_path(str(Path(__file__).with_name("scripted_endpoint.py")))["Endpoint"]
TALK = [
    {"role": "user", "content": "le chat"},
    {"role": "assistant", "content": "mange"},
    {"role": "user", "content": "la souris"},
]


@pytest.fixture
def answerer(tiny_model, llm_config, affinage):
    return make["answerer"](tiny_model("llama", "bos"), llm_config("llama", "bos"))


@pytest.fixture
def ollama(monkeypatch):
    with OllamaServer() as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        yield server


def said(speech):
    return "".join(patiently(speech)), speech.ending


@pytest.mark.parametrize("side", SIDES)
def test_a_side_says_what_the_model_answers_to_the_conversation_in_the_prompt_of_training(answerer, side):
    speaker = LocalSpeaker(answerer, side, side)
    prompt = conversation_text(answerer.config, TALK, answerer.tokenizer.eos_token)
    reference = answerer.ask(side, answerer.encode(prompt), answerer.settings(max_new_tokens=7))
    text = "".join(reference)
    found, ending = said(speaker.ask(TALK, Drawing(max_new_tokens=7)))
    assert (found, ending) == (text, reference.ending)
    assert "".join(speaker.stream(TALK, 7)) == text
    assert speaker.length(TALK) == ending.prompt_tokens


def test_a_conversation_longer_than_the_context_is_refused(answerer):
    speaker = LocalSpeaker(answerer, "tuned", "tuned")
    text = "le chat mange " * 200
    assert speaker.count(text) > speaker.context_length == make["CONTEXT"]
    with pytest.raises(AffinageError, match="leaves no room for an answer"):
        speaker.ask([{"role": "user", "content": text}], Drawing())


def test_leaving_the_pieces_ends_the_answer(answerer):
    speech = LocalSpeaker(answerer, "tuned", "tuned").ask(TALK, Drawing(max_new_tokens=200))
    pieces = patiently(speech)
    next(pieces)
    pieces.close()
    assert speech._cancelled.is_set()


def test_who_waits_for_a_turn_can_leave_it(answerer):
    with answerer.model("base"):
        pieces = patiently(LocalSpeaker(answerer, "tuned", "tuned").ask(TALK, Drawing(max_new_tokens=5)))
        assert [next(pieces), next(pieces)] == ["", ""]
        pieces.close()
    assert said(LocalSpeaker(answerer, "tuned", "tuned").ask(TALK, Drawing(max_new_tokens=5)))[1].tokens


def test_what_the_model_raises_reaches_who_listens(answerer, monkeypatch):
    def fails(self, model):
        raise RuntimeError("out of memory")

    monkeypatch.setattr("affinage.answering.AnswerStream._run", fails)
    with pytest.raises(RuntimeError, match="out of memory"):
        said(LocalSpeaker(answerer, "base", "base").ask(TALK, Drawing()))


def test_ollama_is_asked_with_every_message_and_setting_and_streams(ollama):
    speaker = ollama_speaker("llama3.1:8b")
    text, ending = said(speaker.ask(TALK, Drawing(temperature=0.5, seed=3, max_new_tokens=9)))
    assert text == "la souris" and ending.stop == "end" and ending.text == text
    asked = ollama.chats[-1]
    assert asked["messages"] == TALK and asked["stream"] and asked["truncate"] is False
    wanted = {"temperature": 0.5, "seed": 3, "num_predict": 9, "num_ctx": speaker.context_length, "top_p": 0.9}
    assert asked["options"] == wanted
    assert not speaker.leaves_the_machine


@pytest.mark.parametrize(("fault", "found"), [("500", "unexpectedly stopped"), ("overflow", "longer than the context")])
def test_what_ollama_says_went_wrong_is_told(ollama, fault, found):
    speaker = ollama_speaker("llama3.1:8b")
    ollama.script(fault)
    with pytest.raises(AffinageError, match=found):
        said(speaker.ask(TALK, Drawing()))


@pytest.mark.parametrize(("fault", "stop"), [("length", "length"), ("ok", "end")])
def test_why_ollama_stopped_is_known(ollama, fault, stop):
    speaker = ollama_speaker("llama3.1:8b")
    ollama.script(fault)
    assert said(speaker.ask(TALK, Drawing()))[1].stop == stop


def test_a_model_that_ollama_lacks_is_named(ollama):
    with pytest.raises(AffinageError, match="model mistral: is not on the Ollama server"):
        ollama_speaker("mistral")


def test_an_endpoint_streams_and_gets_the_key_from_the_environment(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    with Endpoint(lambda messages: "un deux trois") as endpoint:
        speaker = openai_speaker("scripted", endpoint.url)
        text, ending = said(speaker.ask(TALK, Drawing(temperature=0.0, max_new_tokens=5)))
        assert (text.split(), ending.stop) == (["un", "deux", "trois"], "end")
        assert endpoint.keys == {"sk-secret"} and "sk-secret" not in repr(speaker)
        assert endpoint.asked[-1]["messages"] == TALK and endpoint.asked[-1]["max_tokens"] == 5


def test_an_endpoint_that_refuses_the_key_does_not_bring_it_to_light(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    with Endpoint(lambda messages: "un") as endpoint:
        endpoint.refuses_key = True
        with pytest.raises(AffinageError, match="refuses the key") as raised:
            openai_speaker("scripted", endpoint.url)
        assert "sk-secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("answer", "found"), [(f"un {Endpoint.BREAK}", "broke off in the middle"), (f"{Endpoint.LENGTH}un", "")]
)
def test_an_answer_that_breaks_off_is_an_error_and_one_at_its_limit_is_cut(answer, found):
    with Endpoint(lambda messages: answer) as endpoint:
        speech = openai_speaker("scripted", endpoint.url).ask(TALK, Drawing())
        if found:
            with pytest.raises(AffinageError, match=found):
                said(speech)
        else:
            assert said(speech)[1].stop == "length"


def test_no_server_another_model_and_no_address_are_told_apart():
    other = pytest.raises(AffinageError, match=r"model other: is not at.*scripted")
    with Endpoint(lambda messages: "un") as endpoint, other:
        openai_speaker("other", endpoint.url)
    with pytest.raises(AffinageError, match="no server answers there"):
        openai_speaker("scripted", "http://127.0.0.1:9/v1")
    with pytest.raises(AffinageError, match="is no address"):
        openai_speaker("scripted", "localhost:8000")


def test_an_estimate_of_tokens_is_not_too_low():
    with Endpoint(lambda messages: "un") as endpoint:
        speaker = openai_speaker("scripted", endpoint.url)
        assert speaker.count("anticonstitutionnellement") >= 8 and speaker.count("日本語の文章") >= 6
        with pytest.raises(AffinageError, match="leaves no room"):
            speaker.ask([{"role": "user", "content": "mot " * 10_000}], Drawing())


@pytest.mark.parametrize(
    ("host", "leaves"),
    [("http://127.0.0.1:11434", False), ("http://[::1]:1/v1", False), ("https://api.openai.com/v1", True)],
)
def test_a_server_on_another_machine_is_known_as_such(host, leaves):
    assert RemoteSpeaker("m", "m", host, 100, lambda *asked: iter(())).leaves_the_machine is leaves

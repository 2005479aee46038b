"""Questions on documents and summaries by a real model, whose tokenizer and context decide what fits."""

import runpy
from pathlib import Path

import pytest
import yaml

from affinage.documents.answering import answer
from affinage.documents.condensing import condensed
from affinage.documents.passages import passages_of
from affinage.documents.retrieval import WordIndex
from affinage.documents.summaries import METHODS, Summary, summarise
from affinage.documents_demo.handbook import handbook
from affinage.paths import CONFIGS, MODELS

CONTEXT = 512
talking_models = runpy.run_path(str(Path(__file__).with_name("talking_models.py")))
pytestmark = pytest.mark.slow


class PetitLlama:
    """petit-llama with its contents one after the other as prompt; keeps how long every prompt was."""

    name, context_length = "petit-llama", CONTEXT

    def __init__(self, answerer):
        self.answerer, self.lengths = answerer, []

    def count(self, text):
        return len(self.answerer.tokenizer(text, verbose=False)["input_ids"])

    def stream(self, messages, max_new_tokens=256):
        ids = self.answerer.encode("\n\n".join(message["content"] for message in messages))
        self.lengths.append(len(ids) + max_new_tokens)
        yield from self.answerer.ask("tuned", ids, self.answerer.settings(max_new_tokens=max_new_tokens))


@pytest.fixture(scope="module")
def speaker():
    config = yaml.safe_load((CONFIGS / "voix-passive" / "petit-llama-lora.yaml").read_text(encoding="utf-8"))
    answerer = talking_models["answerer"](str(MODELS / "petit-llama"), config)
    answerer.context_length = CONTEXT
    return PetitLlama(answerer)


@pytest.mark.parametrize("language", ["en", "fr"])
def test_a_question_is_answered_within_the_context(speaker, language):
    document, questions = handbook(language, 0)
    index = WordIndex(passages_of([document]))
    asked = [question.text for question in questions if question.kind == "named"][:3]
    history = [{"role": "user", "content": text} for text in asked]
    for text in asked:
        made = answer(text, index, speaker, language=language, max_new_tokens=24)
        assert made.sources and made.left_out + len(made.sources) == 5
        "".join(made.pieces)
    assert condensed(asked[0], history, speaker, language)
    assert all(length <= CONTEXT for length in speaker.lengths)


@pytest.mark.parametrize("method", METHODS)
def test_a_text_longer_than_the_context_is_summarised(speaker, method):
    text = handbook("fr", 0)[0].pages[0].text
    assert speaker.count(text) > 2 * CONTEXT
    *steps, summary = summarise(text, speaker, method, "fr", max_new_tokens=24)
    assert isinstance(summary, Summary) and summary.parts > 2 and len(steps) > summary.parts
    assert all(length <= CONTEXT for length in speaker.lengths)

"""Each step alone, with a model that answers by rule over real HTTP: what it makes, and what it refuses to guess."""

import re
import runpy
from pathlib import Path

import pytest

from affinage.curation.rows import Counts
from affinage.curation.steps.asking import Work
from affinage.curation.steps.augment import augment
from affinage.curation.steps.filtering import keep_where
from affinage.curation.steps.label import label
from affinage.curation.steps.recipe import Augment, Label, Recipe, Segment
from affinage.curation.steps.segment import read_documents, segment
from affinage.curation.steps.shingles import similarity
from affinage.errors import AffinageError
from affinage.ollama_chat import Chat

OllamaServer = runpy.run_path(str(Path(__file__).with_name("ollama_server.py")))["OllamaServer"]
LABEL = {"step": "label", "labels": ["a", "b"], "prompt": "{instruction}\n{labels}"}


def row(number, **columns):
    made = {"instruction": f"Question {number} ?", "input": "", "output": f"Réponse {number}.", "id": f"r{number}"}
    return (
        made | {"group": f"g{number}", "source": f"rows.jsonl#{number}", "parent_id": "", "synthetic": False} | columns
    )


@pytest.fixture
def server():
    with OllamaServer() as server:
        yield server


@pytest.fixture
def work(server):
    recipe = Recipe(source="x", model="llama3.1:8b", steps=[LABEL])
    with Chat(server.url, "llama3.1:8b", recipe.options, backoff_s=0.001) as chat:
        chat.preflight()
        yield Work(recipe, chat)


def prompts(server):
    return [body["messages"][-1]["content"].partition("\n\nJSON schema")[0] for body in server.chats]


def test_a_label_is_one_of_the_list_with_its_provenance(server, work):
    server.responder = lambda messages, schema: {"label": "b" if "2" in messages[-1]["content"][:12] else "a"}
    step = Label(**LABEL | {"labels": {"a": "premier", "b": ""}, "system": "Tu classes."})
    labelled = label([row(1), row(2, lang="fr")], step, work)
    assert [one["label"] for one in labelled] == ["a", "b"]
    assert labelled[0]["label_model"] == "llama3.1:8b" and labelled[0]["label_digest"] == server.models["llama3.1:8b"]
    assert len(labelled[0]["label_prompt_sha256"]) == 64 and "label_agreement" not in labelled[0]
    assert prompts(server) == ["Question 1 ?\n- a: premier\n- b", "Question 2 ?\n- a: premier\n- b"]
    assert server.chats[0]["messages"][0] == {"role": "system", "content": "Tu classes."}
    assert server.chats[0]["format"]["properties"] == {"label": {"enum": ["a", "b"]}}
    assert work.counts.of("label", "label: a") == 1 and work.unparsed == []


def test_the_prompt_hash_changes_with_the_prompt_and_with_nothing_else(server, work):
    hashes = [
        label([row(1)], Label(**LABEL | changed), work)[0]["label_prompt_sha256"]
        for changed in ({}, {"seed": 7}, {"prompt": "{instruction}!"}, {"system": "x"}, {"labels": ["a", "c"]})
    ]
    assert hashes[0] == hashes[1] and len(set(hashes)) == 4


def test_braces_in_a_row_reach_the_model_as_they_are(server, work):
    label([row(1, instruction="{output} {labels} {{x}} %s $y {")], Label(**LABEL | {"prompt": "<{instruction}>"}), work)
    assert prompts(server) == ["<{output} {labels} {{x}} %s $y {>"]


# Answers of the voters for one row, the label elected and the agreement, or why there is none.
VOTES = [
    (["a", "a", "b"], "a", "2/3"),
    (["b", "b", "b"], "b", "3/3"),
    (["a", "b", "c"], "", "no agreement"),
    (["a", "a", "b", "b"], "", "no agreement"),
    (["a", None, "a"], "a", "2/3"),
    ([None, None, "a"], "", "no agreement"),
    ([None, None, None], "", "no valid answer"),
]


@pytest.mark.parametrize(("answers", "elected", "why"), VOTES)
def test_votes_elect_a_label_or_none(server, work, answers, elected, why):
    by_seed = {123 + 10 * vote: answer for vote, answer in enumerate(answers)}
    server.responder = lambda messages, schema: {"label": by_seed[server.chats[-1]["options"]["seed"]]}
    server.script(*(fault for answer in answers for fault in (["refusal"] if answer is None else ["ok"])))
    step = Label(**LABEL | {"labels": ["a", "b", "c"], "votes": len(answers), "min_agreement": 2})
    labelled = label([row(1)], step, work)
    assert {body["options"]["seed"] for body in server.chats} == set(by_seed)
    assert all(body["options"]["temperature"] == 0.7 for body in server.chats)
    if elected:
        assert (labelled[0]["label"], labelled[0]["label_agreement"]) == (elected, why)
    else:
        assert labelled == [] and work.counts.of("label", f"dropped: {why}") == 1
    refused = sum(answer is None for answer in answers)
    assert [entry["reason"] for entry in work.unparsed].count("refused") == refused
    assert work.counts.of("label", "answers not used: refused") == refused


def test_an_unlabelled_row_may_be_kept_with_an_empty_label(server, work):
    server.script("refusal")
    kept = label([row(1), row(2)], Label(**LABEL | {"keep_unlabelled": True}), work)
    assert [one["label"] for one in kept] == ["", "a"]
    [entry] = work.unparsed
    assert entry["id"] == "r1" and entry["source"] == "rows.jsonl#1" and entry["status"] == "refused"
    assert entry["raw"].startswith("Je suis désolé") and entry["attempts"] == ["refused"]


def test_the_filter_keeps_what_the_expression_holds_for_and_counts_the_rest():
    counts = Counts()
    kept = keep_where([row(1, label="a"), row(2), row(3, label="b")], 'label != "a"', counts, "filter")
    assert [one["id"] for one in kept] == ["r2", "r3"]
    assert (counts.of("filter", "seen"), counts.of("filter", 'dropped: not label != "a"')) == (3, 1)


@pytest.mark.parametrize("expression", ["int(label) > 3", "len(output)"])
def test_an_expression_that_fails_names_the_row_and_itself(expression):
    rows = [row(1, label="4"), row(2, label="many")]
    with pytest.raises(AffinageError) as raised:
        keep_where(rows, expression, Counts(), "filter")
    failing = "r1" if expression == "len(output)" else "r2"
    assert f"row {failing} (rows.jsonl#" in str(raised.value) and f"`{expression}`" in str(raised.value)


MAILS = """\
préambule
From a
Bonjour, où est la salle ?
> Où est-elle ?
La salle est au rez-de-chaussée.
From b
Qui répond ?
"""
SEGMENT = {"step": "segment", "conversation_start": "^From ", "prompt": "{text}", "capture": {"who": "^From (.)"}}


def documents_of(tmp_path, step, counts, text=MAILS, encoding="utf-8"):
    (tmp_path / "mails.txt").write_text(text, encoding=encoding)
    return read_documents(tmp_path / "mails.txt", step, counts)


def exchange(question, answer, **others):
    return {"question": question, "context": "", "answer": answer} | others


def test_a_raw_text_is_cut_where_conversations_begin_and_captures_are_columns(tmp_path):
    counts = Counts()
    documents, files, notes = documents_of(tmp_path, Segment(**SEGMENT), counts)
    assert [(one.id, one.source, one.captured["who"]) for one in documents] == [
        ("mails-0001", "mails.txt#2", "a"),
        ("mails-0002", "mails.txt#6", "b"),
    ]
    assert documents[0].text.endswith("rez-de-chaussée.") and notes == [] and len(files[0].sha256) == 64
    assert counts.of("segment", "text before the first conversation") == 1


def test_a_text_in_an_old_encoding_is_read_and_said(tmp_path):
    documents, _, notes = documents_of(tmp_path, Segment(**SEGMENT), Counts(), MAILS * 5, "cp1252")
    assert "préambule" in documents[1].text and "cp1252" in notes[0]


def test_a_start_that_matches_nowhere_is_an_error(tmp_path):
    with pytest.raises(AffinageError, match="no conversation begins there"):
        documents_of(tmp_path, Segment(**SEGMENT | {"conversation_start": "^=== "}), Counts())


def test_rows_of_a_conversation_share_a_group_and_are_copied_from_it(tmp_path, server, work):
    found = [
        exchange("où est la salle ?", "La salle est au rez-de-chaussée."),
        exchange("Bonjour, où est la salle ?", "La salle est au troisième étage, porte B."),
    ]
    server.responder = lambda messages, schema: {"exchanges": found if "From a" in messages[-1]["content"] else []}
    step = Segment(**SEGMENT)
    rows = segment(documents_of(tmp_path, step, work.counts)[0], step, work)
    [made] = rows
    assert (made["instruction"], made["output"]) == ("où est la salle ?", "La salle est au rez-de-chaussée.")
    assert (made["id"], made["group"], made["source"]) == ("mails-0001.1", "mails-0001", "mails.txt#2")
    assert (made["who"], made["synthetic"], made["parent_id"]) == ("a", False, "")
    assert made["segment_model"] == "llama3.1:8b"
    [invented] = work.unparsed
    assert invented["reason"] == "not_in_source" and invented["exchange"] == found[1] and invented["copied"] < 0.8
    assert work.counts.of("segment", "dropped: no answered question found") == 1


def test_rows_in_and_out_of_a_segment_step_add_up(tmp_path, server, work):
    two = [exchange("où est la salle ?", "La salle est au rez-de-chaussée."), exchange("Où est-elle ?", "La salle")]
    server.responder = lambda messages, schema: {"exchanges": two}
    server.script("ok", "broken json", "broken json", "broken json")
    step = Segment(**SEGMENT)
    rows = segment(documents_of(tmp_path, step, work.counts)[0], step, work)
    of = work.counts.steps["segment"]
    assert of["seen"] - of["dropped: no usable answer"] + of["added: further rows of a document"] == len(rows) == 2
    assert work.unparsed[0]["status"] == "broken_json" and work.unparsed[0]["raw"] == '{"label": "a"'


def test_without_a_start_the_model_tells_conversations_apart(tmp_path, server, work):
    server.responder = lambda messages, schema: {
        "exchanges": [exchange("Qui répond ?", "La salle", conversation=n) for n in (1, 1, 2)]
    }
    step = Segment(**SEGMENT | {"conversation_start": ""})
    rows = segment(documents_of(tmp_path, step, work.counts)[0], step, work)
    assert [one["group"] for one in rows] == ["mails-0001.1.1", "mails-0001.1.1", "mails-0001.1.2"]
    assert "conversation" in server.chats[0]["format"]["properties"]["exchanges"]["items"]["required"]


def test_a_long_document_is_asked_about_in_pieces_that_lose_nothing(tmp_path, server, work):
    text = "From a\n" + "\n\n".join(f"Paragraphe {i} " + "mot " * 20 for i in range(20))
    server.responder = lambda messages, schema: {"exchanges": []}
    step = Segment(**SEGMENT | {"max_chars": 400})
    segment(documents_of(tmp_path, step, work.counts, text)[0], step, work)
    asked = prompts(server)
    assert len(asked) > 4 and all(len(piece) <= 400 for piece in asked)
    assert re.sub(r"\s+", "", "".join(asked)) == re.sub(r"\s+", "", text)


AUGMENT = {"step": "augment", "prompt": "{instruction}"}
WORDS = "Dites-moi s'il vous plaît, vous qui connaissez les registres, "


def test_a_synthetic_row_stays_in_its_parents_group_and_says_what_it_is(server, work):
    server.responder = lambda messages, schema: {"instruction": WORDS + messages[-1]["content"][:12]}
    made = augment([row(1, label="x"), row(2)], [], Augment(**AUGMENT | {"where": 'label == "x"'}), work)
    assert [one["id"] for one in made] == ["r1", "r1~augment~1", "r2"]
    child = made[1]
    assert child["parent_id"] == "r1" and child["synthetic"] is True and child["group"] == "g1"
    assert child["instruction"].startswith(WORDS) and child["output"] == "Réponse 1." and child["label"] == "x"
    assert child["augment_model"] == "llama3.1:8b" and made[0]["synthetic"] is False
    assert server.chats[0]["options"]["temperature"] == 0.8


def test_copies_of_the_parent_of_a_sibling_and_of_held_out_rows_are_rejected_and_counted(server, work):
    held_out = row(9, instruction="Comment lire les minutes d'un notaire de la ville de Corvenay ?")
    parent = row(1, instruction="Où sont conservées les minutes des notaires de la ville de Corvenay ?")
    written = [
        "où sont  conservées les minutes des notaires de la ville de Corvenay",  # the parent, but for its case
        "Comment lire les minutes d'un notaire de la ville de Corvenay ?",
        "Dans quelle série trouver les actes des études de Corvenay ?",
        "Dans quelle série trouver les actes des études de Corvenay !",
    ]
    by_seed = {123 + 10 * copy: text for copy, text in enumerate(written)}
    server.responder = lambda messages, schema: {"instruction": by_seed[server.chats[-1]["options"]["seed"]]}
    made = augment([parent], [held_out], Augment(**AUGMENT | {"n_per_row": 4}), work)
    assert [one["instruction"] for one in made] == [parent["instruction"], written[2]]
    reasons = ["near copy of parent", "near copy of held out row", "near copy of sibling"]
    assert [work.counts.of("augment", f"rejected: {reason}") for reason in reasons] == [1, 1, 1]
    assert {entry["reason"] for entry in work.unparsed} == {reason.replace(" ", "_") for reason in reasons}


def test_synthetic_and_repeated_rows_have_no_children(server, work):
    server.responder = lambda messages, schema: {"instruction": WORDS + messages[-1]["content"][:12]}
    train = [row(1), row(1, id="r1~2"), row(2, synthetic=True)]
    made = augment(train, [], Augment(**AUGMENT), work)
    assert len(made) == 4 and len(server.chats) == 1
    assert work.counts.of("augment", "not a parent: synthetic or repeated") == 2


def test_a_failed_answer_adds_no_row_and_is_listed(server, work):
    server.script("refusal")
    assert augment([row(1)], [], Augment(**AUGMENT), work) == [row(1)]
    assert work.unparsed[0]["status"] == "refused" and work.counts.of("augment", "answers not used: refused") == 1


@pytest.mark.parametrize(
    "pair", [("abcdef", "abcdeg"), ("Été à  Paris", "été À paris"), ("abc", "abd"), ("abc", "ABC")]
)
def test_similarity_is_the_jaccard_index_of_5_grams(pair):
    grams = [set(re.findall("(?=(.{5}))", " ".join(text.lower().split()))) or {text.lower()} for text in pair]
    assert similarity(*pair) == len(grams[0] & grams[1]) / len(grams[0] | grams[1])

"""Thumbs as make data and make calibrate read them."""

import json
import runpy
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from affinage.app.conversation import Given, Turn, training_row
from affinage.calibration.annotators import read_annotators
from affinage.calibration.evaluation import open_evaluation
from affinage.curation.rows import Counts
from affinage.curation.sources import open_source
from affinage.errors import AffinageError
from affinage.paths import ROOT
from affinage.reviews import DOWN, UP, read_reviews, review
from affinage.runs import find_run
from affinage.speakers.local import LocalSpeaker

make = runpy.run_path(str(Path(__file__).with_name("talking_models.py")))
judging = runpy.run_path(str(Path(__file__).with_name("judged_rows.py")))


@pytest.fixture
def speaker(tiny_model, llm_config, affinage):
    return LocalSpeaker(make["answerer"](tiny_model("llama", "bos"), llm_config("llama", "bos")), "tuned", "tuned")


def row(speaker, answer, stop="end", question="Le chat dort."):
    """What the page keeps of a thumb about the first answer of a conversation."""
    turn = Turn(question, "copie", {"tuned": Given(answer, stop)})
    about = {"answered": answer, "stop": stop, "drawn": {"temperature": 0.0}}
    return training_row(speaker, [], turn, "tuned") | about


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_make_data_learns_what_was_liked_and_counts_the_rest(tmp_path, speaker):
    path = tmp_path / "run" / "reviews.jsonl"
    for thumb, answer, stop in [(UP, "bien", "end"), (DOWN, "mal", "end"), (UP, "coupé", "length")]:
        review(path, row(speaker, answer, stop), thumb)
    counts = Counts()
    source = open_source(str(path))
    (found,) = source.rows(counts)
    assert source.format == "reviews"
    assert (found["instruction"], found["input"], found["output"]) == ("copie", "Le chat dort.", "bien")
    assert found["model"] == "tuned" and "prompt" not in found
    assert counts.of("read", "dropped: thumbs down") == 1
    assert counts.of("read", "dropped: answer that did not end by itself") == 1


def test_named_columns_do_not_let_thumbs_down_through(tmp_path, speaker):
    path = tmp_path / "reviews.jsonl"
    review(path, row(speaker, "bien"), UP)
    review(path, row(speaker, "mal"), DOWN)
    rows = list(open_source(str(path), columns={"instruction": "input", "input": "instruction"}).rows(Counts()))
    assert [one["output"] for one in rows] == ["bien"] and rows[0]["instruction"] == "Le chat dort."


def test_an_answer_has_one_thumb_the_last_one_and_none_once_it_is_taken_back(tmp_path, speaker):
    path, first, second = tmp_path / "reviews.jsonl", row(speaker, "un"), row(speaker, "deux")
    review(path, first, UP)
    review(path, second, UP)
    review(path, first, DOWN)
    assert [(one.answer, one.thumb) for one in read_reviews(path)] == [("deux", UP), ("un", DOWN)]
    review(path, second, None)
    assert [one.answer for one in read_reviews(path)] == ["un"]


def test_thumbs_of_many_people_at_once_are_all_kept(tmp_path, speaker):
    path, rows = tmp_path / "reviews.jsonl", [row(speaker, str(n)) for n in range(60)]
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda one: review(path, one, UP), rows))
    assert sorted(int(one["answered"]) for one in lines(path)) == list(range(60))


def test_a_line_that_is_no_review_is_named_and_left_alone(tmp_path, speaker):
    path = tmp_path / "reviews.jsonl"
    review(path, row(speaker, "un"), UP)
    with path.open("a") as file:
        file.write("oops")
    review(path, row(speaker, "deux"), UP)
    assert "oops" in path.read_text().splitlines()
    with pytest.raises(AffinageError, match=r"reviews\.jsonl:2: no review"):
        read_reviews(path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path, speaker):
    (tmp_path / "file").write_text("")
    with pytest.raises(AffinageError, match="cannot be written"):
        review(tmp_path / "file" / "reviews.jsonl", row(speaker, "un"), UP)


def test_a_later_question_carries_what_was_said_before_it(speaker):
    turns = [Turn("un", "", {"tuned": Given("1", "end")}), Turn("deux", "", {"tuned": Given("2", "end")})]
    told = training_row(speaker, turns[:1], turns[1], "tuned")
    assert told["instruction"] == "User: un\n\nAssistant: 1\n\nUser: deux" and told["turns_before"] == 1


def asked_and_answered():
    """Predictions of eight rows, with the prompt that the model of `speaker` was given."""
    rows = []
    for n in range(8):
        prompt = f"### Instruction:\ncopie\n\n### Input:\nLe chat {n}.\n\n### Response:\n"
        asked = {"instruction": "copie", "input": f"Le chat {n}.", "reference": "LE CHAT", "prompt": prompt}
        rows.append(asked | {"id": f"r{n}", "tuned": f"réponse {n}"})
    return rows


@pytest.fixture
def evaluation(tmp_path):
    return open_evaluation(find_run(str(judging["run_folder"](tmp_path / "results", asked_and_answered()))))


def test_make_calibrate_compares_the_judge_with_thumbs_about_the_same_answers(tmp_path, speaker, evaluation, capsys):
    with judging["server_of"]() as server:
        judging["judged"](server, evaluation.folder, asked_and_answered())
    path = evaluation.run.folder / "reviews.jsonl"
    for n in range(6):
        told = row(speaker, f"réponse {n}", question=f"Le chat {n}.")
        prompt = speaker.prompt([{"role": "system", "content": "copie"}, {"role": "user", "content": f"Le chat {n}."}])
        review(path, told | {"prompt": prompt}, UP if n % 2 else DOWN)
    review(path, row(speaker, "une réponse à autre chose"), UP)
    (people,) = read_annotators([path], evaluation)
    assert people.scores == {(f"r{n}", "tuned"): 100.0 * (n % 2) for n in range(6)} and people.elsewhere == 1
    main = runpy.run_path(str(ROOT / "evaluate" / "calibrate.py"))["main"]
    main(["--run", str(evaluation.run.folder), "--human", str(path)])
    said = capsys.readouterr().out
    assert "reviews: 6 answers scored, 1 left out: thumbs about other answers" in said
    content = json.loads((evaluation.folder / "judge" / "score-llama3.1-8b" / "calibration.json").read_text())
    assert content["sheets"][0]["scored"] == 6 and content["sheets"][0]["elsewhere"] == 1


def test_thumbs_about_none_of_the_answers_say_what_to_ask(tmp_path, speaker, evaluation):
    path = tmp_path / "reviews.jsonl"
    review(path, row(speaker, "autre chose"), UP)
    with pytest.raises(AffinageError, match=r"none of its 1 thumbs.*questions of the test set"):
        read_annotators([path], evaluation)

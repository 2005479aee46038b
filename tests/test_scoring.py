"""metrics.json from predictions, against sacrebleu, the metrics of make train, and numbers worked out by hand."""

import json
import math
import random
import time

import pytest
import sacrebleu

from affinage import metrics as older
from affinage.errors import AffinageError
from affinage.scoring import Suite, read_predictions, score

WORDS = "le chat la souris mange l'été où rouge Grand à jardin . ,".split()
SUITE = Suite.model_validate({"bootstrap": {"n": 200}})


def texts(seed, n):
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(1, 9))) for _ in range(n)]


def records(n=12, systems=("base", "tuned"), **columns):
    """Rows as evaluate/generate.py writes them; `columns` give further ones, each a list of n values."""
    references = texts(0, n)
    rows = [
        {
            "id": f"r{i}",
            "instruction": "copie",
            "input": "",
            "prompt": "copie",
            "reference": text,
            "reference_tokens": len(text.split()) + 1,
            "reference_bytes": len(text.encode()),
        }
        for i, text in enumerate(references)
    ]
    for at, system in enumerate(systems):
        answers = texts(at + 1, n)
        if system == "tuned":
            answers[: n // 2] = references[: n // 2]
        for row, answer in zip(rows, answers, strict=True):
            row |= {system: answer, f"{system}_tokens": 3, f"{system}_stop": "end", f"{system}_flags": []}
            row |= {f"{system}_nll": (2.0 - at) * row["reference_tokens"]} if system != "fewshot" else {}
    return [row | {name: values[i] for name, values in columns.items()} for i, row in enumerate(rows)]


@pytest.fixture
def scored(tmp_path):
    """What `score` makes of rows."""

    def go(rows, suite=SUITE):
        return score(read_predictions(write(tmp_path / "predictions.jsonl", rows)), suite)

    return go


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def values(metrics, system):
    return {name: entry["value"] for name, entry in metrics["systems"][system].items()}


def column(rows, name):
    return [row[name] for row in rows]


def test_metrics_json_has_the_promised_keys(scored):
    metrics = scored(records(label=["a", "b"] * 6))
    assert set(metrics) == {
        *("version", "n", "rows_in_split", "split", "suite", "data_sha256", "settings", "systems", "differences"),
        *("by_label", "best", "worst", "ranked_by", "warnings"),
    }
    assert (metrics["version"], metrics["n"], metrics["split"], metrics["suite"]) == (1, 12, "test", "default")
    assert list(metrics["systems"]["tuned"]) == SUITE.all_metrics
    assert set(metrics["systems"]["tuned"]["bleu"]) == {"value", "low", "high"}
    assert set(metrics["differences"]["tuned - base"]["bleu"]) >= {"value", "low", "high", "better", "worse", "p"}
    json.dumps(metrics, allow_nan=False)


@pytest.mark.parametrize("system", ["base", "tuned"])
def test_numbers_agree_with_those_of_make_train_and_of_sacrebleu(scored, system):
    rows = records()
    answers, references = column(rows, system), column(rows, "reference")
    found, train = values(scored(rows), system), older.score(answers, references)
    assert found["exact_match"] == train.exact_match
    assert found["chrf"] == pytest.approx(train.chrf, abs=1e-9)
    assert found["bleu"] == pytest.approx(sacrebleu.corpus_bleu(answers, [references], force=True).score, abs=1e-9)
    assert 0 < found["bleu"] < 100


def test_signatures_and_settings_stand_beside_the_numbers(scored):
    settings = scored(records())["settings"]
    chrf, bleu = sacrebleu.CHRF(), sacrebleu.BLEU()
    for metric in (chrf, bleu):
        metric.corpus_score(["a"], [["a"]])
    assert settings["chrf"] == chrf.get_signature().format()
    assert settings["bleu"] == bleu.get_signature().format()
    assert settings["rouge"]["tokenizer"] == "unicode"
    assert (settings["bootstrap"], settings["seed"], settings["confidence"]) == (200, 0, 0.95)


def test_decomposed_accents_and_spaces_do_not_count(scored):
    rows = records(4)
    for row in rows:
        row |= {"reference": "l'été  où", "reference_bytes": 12, "base": "l'e\u0301te\u0301 ou\u0300\n"}
    found = values(scored(rows), "base")
    assert (found["exact_match"], found["chrf"], found["token_f1"]) == pytest.approx((1, 100, 1))


@pytest.mark.parametrize(
    ("answer", "reference", "mode", "match", "f1"),
    [
        ("le chat noir", "le chat blanc", "strict", 0, 2 / 3),
        ("Le chat.", "le chat", "strict", 0, 1),
        ("Le chat.", "le chat", "loose", 1, 1),
        ("le le le", "le", "strict", 0, 0.5),
        ("", "le", "loose", 0, 0),
        ("!", "?", "strict", 0, 1),
    ],
)
def test_exact_match_and_token_f1_are_those_worked_out_by_hand(scored, answer, reference, mode, match, f1):
    row = records(1)[0] | {"base": answer, "reference": reference, "reference_bytes": len(reference)}
    found = values(scored([row], Suite.model_validate({"exact_match": mode})), "base")
    assert (found["exact_match"], found["token_f1"]) == (match, pytest.approx(f1))


def test_perplexity_and_bits_per_byte_come_from_sums_over_all_rows(scored):
    rows = records()
    tokens, size = sum(column(rows, "reference_tokens")), sum(column(rows, "reference_bytes"))
    found = values(scored(rows), "base")
    assert found["perplexity"] == pytest.approx(math.exp(2))
    assert found["bits_per_byte"] == pytest.approx(2 * tokens / math.log(2) / size)


def test_rows_without_nll_are_left_out_of_the_perplexity_of_both_systems_and_counted(scored):
    rows = records()
    rows[0]["base_nll"], rows[1]["tuned_nll"] = None, None
    metrics = scored(rows)
    assert values(metrics, "base")["perplexity"] == pytest.approx(math.exp(2))
    difference = metrics["differences"]["tuned - base"]["perplexity"]
    assert (difference["better"], difference["worse"], difference["equal"]) == (10, 0, 0)
    assert any(
        warning.startswith("perplexity, bits_per_byte: 2 of 12 rows are left out") for warning in metrics["warnings"]
    )


def test_rates_count_empty_answers_answers_cut_and_answers_that_repeat(scored):
    rows = records(8)
    rows[0]["base"], rows[1]["base"] = "", " \n"
    rows[2]["base_stop"], rows[3]["base_flags"] = "length", ["limit", "repeats"]
    found = values(scored(rows), "base")
    assert (found["empty_rate"], found["limit_rate"], found["repetition_rate"]) == (0.25, 0.125, 0.125)


def test_length_ratio_is_characters_over_characters(scored):
    rows = [row | {"base": "été" * 2, "reference": "été", "reference_bytes": 5} for row in records(3)]
    assert values(scored(rows), "base")["length_ratio"] == 2


def test_columns_that_are_not_there_cost_their_metrics_and_say_so(scored):
    kept = ("id", "reference", "base", "tuned")
    metrics = scored([{name: row[name] for name in kept} for row in records()])
    assert not {"limit_rate", "repetition_rate", "perplexity"} & set(metrics["systems"]["base"])
    assert "repetition_rate of base: no column base_flags." in metrics["warnings"]
    assert "perplexity, bits_per_byte of tuned: no column tuned_nll." in metrics["warnings"]


def test_few_shot_answers_are_a_system_of_their_own_without_perplexity(scored):
    metrics = scored(records(40, ("base", "fewshot", "tuned")))
    assert list(metrics["differences"]) == ["tuned - base", "tuned - fewshot"]
    assert "perplexity" not in metrics["systems"]["fewshot"]
    assert not [warning for warning in metrics["warnings"] if "fewshot" in warning]


def test_labels_and_large_groups_are_scored_apart_as_if_they_were_alone(scored):
    groups = ["g1"] * 6 + ["g2"] * 5 + ["g3"]
    rows = records(label=["a"] * 4 + [""] * 8, group=groups)
    metrics, alone = scored(rows), scored(rows[:4])
    assert metrics["by_label"]["a"]["systems"] == alone["systems"]
    assert metrics["by_label"]["a"]["differences"] == alone["differences"]
    assert {name: part["n"] for name, part in metrics["by_label"].items()} == {"a": 4, "(no label)": 8}
    assert {name: part["n"] for name, part in metrics["by_group"].items()} == {"g1": 6, "g2": 5}
    assert metrics["settings"]["resampled"] == "groups"


@pytest.mark.parametrize(
    ("labels", "groups", "present"),
    [(["a"] * 12, ["g"] * 12, set()), ([str(i) for i in range(12)], [str(i) for i in range(12)], {"by_label"})],
)
def test_there_is_no_table_for_one_label_or_small_groups(scored, labels, groups, present):
    assert {"by_label", "by_group"} & set(scored(records(label=labels, group=groups))) == present


def test_best_and_worst_rows_are_ranked_by_chrf(scored):
    rows = records(30)
    metrics = scored(rows)
    chrf = {row["id"]: sacrebleu.sentence_chrf(row["base"], [row["reference"]]).score for row in rows}
    for name, ids in (("best", metrics["best"]["base"]), ("worst", metrics["worst"]["base"])):
        expected = sorted(chrf.values(), reverse=name == "best")[:10]
        assert [chrf[i] for i in ids] == pytest.approx(expected)
    assert set(metrics["best"]["tuned"]) <= {f"r{i}" for i in range(15)}


def test_classification_and_extraction_come_with_their_tables(scored):
    suite = Suite.model_validate({"classification": {"labels": ["oui", "non"]}, "bootstrap": {"n": 200}})
    rows = [row | {"reference": "oui", "reference_bytes": 3, "base": "bof", "tuned": "Oui."} for row in records(4)]
    metrics = scored(rows, suite)
    assert metrics["confusion"] == {
        "labels": ["oui", "non", "(unparsed)"],
        "base": [[0, 0, 4], [0, 0, 0], [0, 0, 0]],
        "tuned": [[4, 0, 0], [0, 0, 0], [0, 0, 0]],
    }
    assert values(metrics, "tuned")["accuracy"] == 1
    rows = [row | {"reference": '{"a": 1}', "reference_bytes": 8, "tuned": '{"a": 1}'} for row in records(4)]
    metrics = scored(rows, Suite.model_validate({"extraction": {"fields": ["a"]}}))
    assert metrics["fields"]["tuned"]["a"]["f1"] == values(metrics, "tuned")["field_f1"] == 1
    assert values(metrics, "base")["json_valid"] == 0


@pytest.mark.parametrize(
    ("n", "groups", "words"), [(12, None, "12: fewer than 30 rows"), (40, 10, "30 groups of rows (10)")]
)
def test_a_small_n_is_a_warning(scored, n, groups, words):
    columns = {"group": [f"g{i % groups}" for i in range(n)]} if groups else {}
    warnings = scored(records(n, **columns))["warnings"]
    assert any(words in warning for warning in warnings)
    assert any("known to ±0." in warning and "exact_match" in warning for warning in warnings)


def test_enough_rows_that_agree_give_no_warning(scored):
    rows = [row | {"base": row["reference"], "tuned": row["reference"]} for row in records(60)]
    assert scored(rows)["warnings"] == []


def test_a_single_system_has_nothing_to_be_compared_with(scored):
    metrics = scored(records(40, ("tuned",)))
    assert metrics["differences"] == {}
    assert "nothing to compare: only tuned answered." in metrics["warnings"]


def test_four_hundred_rows_of_two_systems_take_a_few_seconds(scored):
    rows = records(400, label=["a", "b", "c", "d"] * 100)
    started = time.process_time()
    scored(rows, Suite())
    assert time.process_time() - started < 10


@pytest.mark.slow
def test_bertscore_is_that_of_torchmetrics_and_takes_empty_answers(scored, tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from torchmetrics.functional.text.bert import bert_score
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast, set_seed

    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *sorted(set(WORDS))])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    specials = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=words, **specials).save_pretrained(tmp_path / "bert")
    set_seed(3)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=len(vocabulary), **sizes)).save_pretrained(tmp_path / "bert")
    rows = records(6)
    rows[0]["base"] = ""
    suite = {"metrics": ["chrf"], "bert_score": {"model": str(tmp_path / "bert")}, "bootstrap": {"n": 200}}
    metrics = scored(rows, Suite.model_validate(suite))
    answers = [answer or "." for answer in column(rows, "base")]
    expected = bert_score(answers, column(rows, "reference"), model_name_or_path=str(tmp_path / "bert"))["f1"]
    assert values(metrics, "base")["bert_score"] == pytest.approx(float(expected.mean()), abs=1e-5)
    assert metrics["settings"]["bert_score"]["base"]["empty_answers_replaced"] == 1
    suite["bert_score"] = {"model": str(tmp_path / "nowhere")}
    with pytest.raises(AffinageError, match=r"bert_score\.model: '.*nowhere'"):
        scored(rows, Suite.model_validate(suite))

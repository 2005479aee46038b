"""Runs as GGUF files: llama.cpp says what the adapter on its base says, and what does not is never called verified."""

import json
import runpy
import shutil
from pathlib import Path

import pytest
from gguf import GGUFReader
from peft import PeftModel
from transformers import AutoTokenizer

from affinage.errors import AffinageError

made = runpy.run_path(str(Path(__file__).with_name("exported_runs.py")))
load = made["load"]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def runs(tmp_path_factory, tiny_model, sentences):
    """A 4-bit Llama run, whose tokenizer puts <s> first, and a GPT-2 run, each trained once with 20 test rows."""
    made["llama_or_skip"]()
    kept = {}

    def make(architecture):
        if architecture not in kept:
            folder = tmp_path_factory.mktemp(architecture)
            base = folder / "base"
            shutil.copytree(tiny_model(architecture, {"llama": "bos", "gpt2": "no_pad"}[architecture]), base)
            (base / "README.md").write_text("---\nlicense: apache-2.0\nlanguage: [fr]\n---\n")
            sections = {"quantization": made["NF4"]} if architecture == "llama" else {}
            kept[architecture] = made["trained_run"](folder, base, sentences(48), **sections)
        return kept[architecture]

    return make


@pytest.fixture(scope="module")
def f16(runs):
    """The f16 export of a run, made once."""
    from affinage.export.gguf_model import export_gguf

    files = {}

    def make(architecture):
        if architecture not in files:
            files[architecture] = export_gguf(runs(architecture), "f16")
        return files[architecture]

    return make


def answers_of_llama_cpp(run, file, prompts, adapter=None):
    from affinage.export import llama_calls

    tokenizer = AutoTokenizer.from_pretrained(run.weights_folder)
    ids = llama_calls.evaluate(made["llama_or_skip"](), file, prompts, []).ids  # as llama.cpp itself cuts the text
    found = llama_calls.evaluate(made["llama_or_skip"](), file, [], ids, 24, [tokenizer.eos_token_id], adapter=adapter)
    return [tokenizer.decode(answer, skip_special_tokens=True) for answer in found.answers]


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_adapter_merged_model_and_files_give_the_same_greedy_text_on_20_prompts(architecture, runs, f16):
    from affinage.export.gguf_adapter import export_adapter
    from affinage.prompts import encode

    run, file = runs(architecture), f16(architecture)
    tokenizer = AutoTokenizer.from_pretrained(run.weights_folder)
    prompts = made["prompts_of"](run)
    ids = encode(prompts, tokenizer)
    base = load(run.manifest["base_model"]["id"])
    expected = made["greedy"](PeftModel.from_pretrained(base, run.weights_folder), ids, tokenizer)
    assert len(set(prompts)) == 20 and len(set(expected)) > 3
    assert made["greedy"](load(run.folder / "export" / "merged"), ids, tokenizer) == expected
    assert file.verified and answers_of_llama_cpp(run, file.path, prompts) == expected
    adapter = export_adapter(run)
    assert adapter.verified
    record = json.loads((run.folder / "export" / "gguf.json").read_text())["adapter"]
    foot = adapter.path.with_name(record["base"])
    assert answers_of_llama_cpp(run, foot, prompts, adapter.path) == expected
    assert answers_of_llama_cpp(run, foot, prompts) != expected


def test_q8_0_stays_within_5_hundredths_of_a_logit(runs):
    from affinage.export.gguf_model import export_gguf

    file = export_gguf(runs("llama"), "q8_0")
    assert file.verified and file.path.name == "copie-tiny-q8_0.gguf"
    assert file.check["largest_difference"] < 0.05
    types = {tensor.tensor_type.name for tensor in GGUFReader(file.path).tensors if len(tensor.shape) == 2}
    assert types == {"Q8_0"}


def test_q8_0_of_gpt2_stays_within_5_hundredths_of_a_logit(runs, f16, tmp_path):
    from affinage.export import llama_calls
    from affinage.export.gguf_check import check, reference_of

    llama, run, source = made["llama_or_skip"](), runs("gpt2"), f16("gpt2").path
    llama_calls.quantize(llama, source, tmp_path / "q8.gguf", "q8_0")
    tokenizer = AutoTokenizer.from_pretrained(run.weights_folder)
    reference = reference_of(load(run.folder / "export" / "merged"), tokenizer, made["prompts_of"](run))
    found = check(llama, tmp_path / "q8.gguf", "q8_0", reference)
    assert found.largest_difference < 0.05 and found.faults == []


def test_q4_k_m_says_which_matrices_it_could_not_hold(f16, tmp_path):
    from affinage.export import llama_calls
    from affinage.export.gguf_model import fallbacks

    llama_calls.quantize(made["llama_or_skip"](), f16("llama").path, tmp_path / "q4.gguf", "q4_k_m")
    (note,) = fallbacks(tmp_path / "q4.gguf")
    assert "16 of 16 weight matrices have a width that is no multiple of 256" in note and "Q5_0" in note


def test_the_file_and_its_record_say_what_they_are(runs, f16):
    file, run = f16("llama"), runs("llama")
    fields = {key: field.contents() for key, field in GGUFReader(file.path).fields.items()}
    assert fields["general.name"] == "copie tiny" and fields["general.license"] == "apache-2.0"
    assert "### Instruction:" in fields["general.description"] and str(run.folder) not in str(fields.values())
    assert fields["tokenizer.ggml.pre"] == "gpt-2" and fields["general.languages"] == ["fr"]
    assert "seen.system" in fields["tokenizer.chat_template"]
    record = json.loads((run.folder / "export" / "gguf.json").read_text())["f16"]
    assert (
        record["sha256"] == file.sha256
        and record["verified"]
        and record["check"]["texts_cut_alike"] == record["check"]["texts"] > 50
    )
    assert record["check"]["run_prompts_cut_alike"] == record["check"]["run_prompts"] == 20
    leftovers = [path.name for path in (run.folder / "export").iterdir() if path.name.startswith(".")]
    assert leftovers == []


def test_the_file_of_another_model_does_not_pass(runs, f16):
    from affinage.export.gguf_check import check, reference_of

    run = runs("llama")
    tokenizer = AutoTokenizer.from_pretrained(run.weights_folder)
    reference = reference_of(load(run.manifest["base_model"]["id"]), tokenizer, made["prompts_of"](run)[:5])
    faults = check(made["llama_or_skip"](), f16("llama").path, "f16", reference).faults
    assert "a logit differs by" in faults[0] and "another next token" in faults[-1]


def test_a_tokenizer_cut_otherwise_leaves_an_unverified_file_and_exit_code_1(runs, f16, capsys, monkeypatch, tmp_path):
    f16("llama")
    run = tmp_path / "run"
    shutil.copytree(runs("llama").folder, run)
    shutil.rmtree(run / "export")
    tokenizer = run / "model" / "model_weights" / "tokenizer.json"
    section = json.loads(tokenizer.read_text())
    odd = {"type": "Split", "pattern": {"Regex": r"[aeiou]|[^aeiou]+"}, "behavior": "Isolated", "invert": False}
    section["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [odd, section["pre_tokenizer"]]}
    tokenizer.write_text(json.dumps(section))
    monkeypatch.chdir(Path.cwd())
    assert made["script"]("export_gguf")(["--run", str(run), "--quant", "f32", "--pre-tokenizer", "gpt-2"]) == 1
    said = capsys.readouterr().out
    assert (
        "prompts of the run get other token ids than in training" in said
        and "same next token                 5 of 5" in said
    )
    names = {path.name for path in (run / "export").iterdir()}
    assert names == {"merged", "merged.json", "gguf.json", "copie-tiny-f32.gguf.unverified"}


def test_a_broken_file_is_an_error_with_what_llama_cpp_said(f16, tmp_path):
    from affinage.export import llama_calls

    whole = f16("llama").path.read_bytes()
    (tmp_path / "half.gguf").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(AffinageError, match="ended with code"):
        llama_calls.evaluate(made["llama_or_skip"](), tmp_path / "half.gguf", ["a"], [])
    with pytest.raises(AffinageError, match="ended with code"):
        llama_calls.quantize(made["llama_or_skip"](), tmp_path / "half.gguf", tmp_path / "out.gguf", "q8_0")


def test_an_unknown_quantization_names_those_there_are(runs):
    from affinage.export.gguf_model import export_gguf

    with pytest.raises(AffinageError, match="Allowed: f32, f16, bf16, q8_0, q4_k_m"):
        export_gguf(runs("llama"), "q3_k")

"""The snippets of a model card, taken out of it and run: they answer what the run itself answered."""

import ast
import contextlib
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import ModuleType, SimpleNamespace

import pytest
import yaml

REPO, BASE, REVISION = "Ann/Tiny-Copie", "affinage-tests/tiny", "a" * 40
TRAINER = {"type": "finetune", "epochs": 3, "batch_size": 4, "learning_rate": 0.02}
NF4 = {"bits": 4, "bnb_4bit_compute_dtype": "float32"}
# A template that would end a fence or a Python text, and that no snippet may change by a letter.
AWKWARD = 'Copie """ceci""" \\n :\n```\n{input}\n```\n→ "'
CASES = {
    "qlora": ("llama", "bos", {"quantization": NF4}),
    "rslora": ("llama", "plain", {"adapter": {"type": "lora", "use_rslora": True, "r": 32}}),
    "dora": ("gpt2", "no_pad", {"adapter": {"type": "lora", "use_dora": True}, "prompt": {"template": AWKWARD}}),
    "full": ("llama", "plain", {"adapter": None}),
}
# What these programs take, from their documentation.
CONVERTER_FLAGS = {
    "--outfile",
    "--outtype",
    "--use-temp-file",
    "--no-lazy",
    "--model-name",
    "--verbose",
    "--split-max-size",
}
CONVERTER_TYPES = {"f32", "f16", "bf16", "q8_0", "tq1_0", "tq2_0", "auto"}
VLLM_FLAGS = {"--enable-lora", "--lora-modules", "--max-lora-rank", "--max-loras", "--trust-remote-code"}
OLLAMA_PARAMETERS = {"temperature", "num_predict", "repeat_penalty", "num_ctx", "stop", "top_k", "top_p", "seed"}
FENCE = re.compile(r"^(`{3,})(\w+)\n(.*?)^\1$", re.MULTILINE | re.DOTALL)


def snippets(card, language="python"):
    """The fenced blocks of a language by the heading above them, in order."""
    found, heading = {}, ""
    for piece in re.split(r"^(#{2,3} .*)$", card, flags=re.MULTILINE):
        if piece.startswith("##"):
            heading = piece.lstrip("# ").strip()
        else:
            found.setdefault(heading, []).extend(m[3] for m in FENCE.finditer(piece) if m[2] == language)
    return found


@pytest.fixture(scope="module", params=CASES)
def published(request, tmp_path_factory, tiny_model, sentences):
    """A run of one kind, staged for the Hub, and a copy of the folder whose base model is a folder here."""
    from affinage import training
    from affinage.publishing.layout import publication_of, stage
    from affinage.runs import all_runs

    architecture, tokenizer, sections = CASES[request.param]
    place, rows = tmp_path_factory.mktemp(request.param), sentences(40)
    rows["split"] = [0] * 24 + [1] * 4 + [2] * 12
    rows.to_json(place / "rows.jsonl", orient="records", lines=True)
    config = {
        "model_type": "llm",
        "base_model": tiny_model(architecture, tokenizer),
        "input_features": [{"name": "prompt", "type": "text"}],
        "output_features": [{"name": "output", "type": "text"}],
        "prompt": {"template": "{instruction} : {input}\n→ "},
        "adapter": {"type": "lora"},
        "preprocessing": {"split": {"type": "fixed", "column": "split"}},
        "generation": {"max_new_tokens": 12},
        "trainer": TRAINER,
    } | sections
    path = place / "copie" / "tiny.yaml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump({key: value for key, value in config.items() if value is not None}))
    training.train(training.plan(path, str(place / "rows.jsonl")), place / "results")
    run = all_runs(place / "results")[0]
    publication = publication_of(run, REPO, base=BASE, licence="mit")
    here = place / "local"
    shutil.copytree(stage(publication), here)
    if (here / "adapter_config.json").exists():
        text = (here / "adapter_config.json").read_text()
        (here / "adapter_config.json").write_text(text.replace(BASE, config["base_model"]))
    card = (here / "README.md").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in (run.folder / "predictions.jsonl").read_text("utf-8").splitlines()]
    return SimpleNamespace(
        name=request.param,
        card=card,
        folder=here,
        base=config["base_model"],
        rows=rows,
        place=place,
        kind=publication.kind,
    )


def run_python(published, code, **names):
    """What is left after the snippet of the prompt and this one, ids on the Hub replaced by folders."""
    local = code.replace(f'"{REPO}"', repr(str(published.folder))).replace(f'"{BASE}"', repr(published.base))
    prompt = snippets(published.card)["How to use it"][0]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(f"{prompt}\n{local}", "snippet", "exec"), names)
    return names | {"printed": printed.getvalue()}


def expected(published):
    """The run's own answer to the prompt of the card, which is one of its own rows."""
    prompt = run_python(published, "")["prompt"]
    return next(row["tuned"] for row in published.rows if row["prompt"] == prompt)


@pytest.mark.slow
def test_every_snippet_for_transformers_and_peft_answers_what_the_run_answered(published):
    found, answer = snippets(published.card), expected(published)
    tried = found.get("PEFT", []) + found["Transformers"]
    assert len(tried) == 2
    assert answer, "an empty answer would prove nothing"
    assert answer not in {row["base"] for row in published.rows}, "nor would one that the base model gives"
    for code in tried:
        after = run_python(published, code)
        assert after["answer"] == answer
        assert after["printed"] == answer + "\n"
    own = FENCE.search(published.card.split("The run's own answer to it:")[1])[3]
    assert own.rstrip("\n") == answer.rstrip("\n")


@pytest.mark.slow
def test_the_snippet_that_merges_leaves_a_model_of_its_own(published, monkeypatch):
    merging = snippets(published.card)["Ollama"]
    if published.kind == "full":
        assert len(merging) == 1 and "merge" not in merging[0]
        return
    monkeypatch.chdir(published.place)
    run_python(published, merging[0])
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = (c.from_pretrained("merged") for c in (AutoModelForCausalLM, AutoTokenizer))
    after = run_python(published, "")
    inputs = tokenizer(after["prompt"], return_tensors="pt", return_token_type_ids=False)
    output = model.generate(**inputs, **after["settings"], pad_token_id=1)[0, inputs["input_ids"].shape[1] :]
    said = tokenizer.decode(output, skip_special_tokens=True)
    # 4-bit weights are other weights, so that only the beginning of an answer can be asked for there.
    assert said == expected(published) or published.name == "qlora"
    assert not (published.place / "merged" / "adapter_config.json").exists()


class Vllm:
    """Stands for vLLM: takes the arguments that it documents, and no others."""

    def __init__(self):
        self.asked = {}

    def LLM(self, model, *, tokenizer=None, revision=None, enable_lora=False, max_lora_rank=16):
        self.asked |= {"model": model, "enable_lora": enable_lora, "rank": max_lora_rank, "revision": revision}
        return SimpleNamespace(generate=self.generate)

    def SamplingParams(
        self, *, temperature=1.0, max_tokens=16, repetition_penalty=1.0, top_p=1.0, top_k=0, min_tokens=0
    ):
        return {"temperature": temperature, "max_tokens": max_tokens}

    def LoRARequest(self, lora_name, lora_int_id, lora_path):
        assert lora_int_id >= 1
        return lora_path

    def generate(self, prompts, sampling_params, lora_request=None):
        self.asked |= {"prompts": prompts, "sampling": sampling_params, "adapter": lora_request}
        return [SimpleNamespace(outputs=[SimpleNamespace(text="said")])]


def module(name, **contents):
    made = ModuleType(name)
    vars(made).update(contents)
    return made


@pytest.mark.slow
def test_the_vllm_snippets_ask_as_the_run_did_or_say_why_they_cannot(published, monkeypatch):
    code, shell = (snippets(published.card, language)["vLLM"] for language in ("python", "sh"))
    if published.name == "dora":
        assert not code and not shell
        assert "vLLM cannot load this adapter: it does not load DoRA adapters; it runs gpt2 models" in published.card
        return
    vllm = Vllm()
    monkeypatch.setitem(sys.modules, "vllm", module("vllm", LLM=vllm.LLM, SamplingParams=vllm.SamplingParams))
    monkeypatch.setitem(sys.modules, "vllm.lora", module("vllm.lora"))
    monkeypatch.setitem(sys.modules, "vllm.lora.request", module("vllm.lora.request", LoRARequest=vllm.LoRARequest))
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda repo: repo)
    after = run_python(published, code[0])
    folder = str(published.folder)
    assert after["printed"] == "said\n"
    assert vllm.asked["prompts"] == [after["prompt"]]
    assert vllm.asked["sampling"] == {"temperature": 0, "max_tokens": 12}
    words = shlex.split(shell[0])
    assert words[:2] == ["vllm", "serve"]
    assert {word for word in words if word.startswith("--")} <= VLLM_FLAGS
    if published.kind == "full":
        assert (vllm.asked["model"], vllm.asked["adapter"], words[2]) == (folder, None, REPO)
        return
    assert (vllm.asked["model"], vllm.asked["adapter"], words[2]) == (published.base, folder, BASE)
    rank = 32 if published.name == "rslora" else 16
    assert vllm.asked["rank"] == rank
    assert ("--max-lora-rank 32" in shell[0]) == ("--max-lora-rank" in shell[0]) == (rank == 32)
    assert f"tiny-copie={REPO}" in words


@pytest.mark.slow
def test_the_unsloth_snippet_asks_the_model_it_loaded(published, monkeypatch):
    loaded = run_python(
        published, (snippets(published.card).get("PEFT") or snippets(published.card)["Transformers"])[0]
    )
    asked = []

    class FastLanguageModel:
        @staticmethod
        def from_pretrained(model_name, *, max_seq_length=2048, load_in_4bit=True, trust_remote_code=False):
            asked.append((model_name, load_in_4bit))
            return loaded["model"], loaded["tokenizer"]

        @staticmethod
        def for_inference(model):
            asked.append(model)

    monkeypatch.setitem(sys.modules, "unsloth", module("unsloth", FastLanguageModel=FastLanguageModel))
    after = run_python(published, snippets(published.card)["Unsloth"][0])
    assert asked == [(str(published.folder), published.name == "qlora"), loaded["model"]]
    assert after["answer"] == expected(published)


class Ollama(BaseHTTPRequestHandler):
    """Answers /api/generate and keeps what was asked."""

    def do_POST(self):
        self.server.asked.append((self.path, json.loads(self.rfile.read(int(self.headers["content-length"])))))
        content = json.dumps({"model": "m", "response": "dit", "done": True}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        pass


@pytest.mark.slow
def test_the_ollama_snippets_convert_create_and_ask_with_the_prompt_as_it_is(published, monkeypatch, tmp_path):
    import ollama

    shell = snippets(published.card, "sh")["Ollama"]
    recorder = '#!/bin/sh\nprintf "%s " "$(basename "$0")" "$@" >> "$RECORD"; echo >> "$RECORD"\n'
    for name in ("python", "ollama", "hf"):
        (tmp_path / name).write_text(recorder)
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "RECORD": str(tmp_path / "record")}
    for code in shell:
        subprocess.run(["sh", "-eu"], input=code, text=True, cwd=tmp_path, env=environment, check=True)
    lines = [line.split() for line in (tmp_path / "record").read_text().splitlines()]
    convert = next(line for line in lines if line[0] == "python")
    assert {word for word in convert if word.startswith("--")} <= CONVERTER_FLAGS
    assert convert[convert.index("--outtype") + 1] in CONVERTER_TYPES
    assert lines[-1] == ["ollama", "create", "tiny-copie", "-f", "Modelfile"]
    modelfile = (tmp_path / "Modelfile").read_text().splitlines()
    assert modelfile[:2] == [f"FROM ./{convert[convert.index('--outfile') + 1]}", 'TEMPLATE """{{ .Prompt }}"""']
    assert {line.split()[1] for line in modelfile[2:] if line.split()[0] == "PARAMETER"} <= OLLAMA_PARAMETERS
    with HTTPServer(("127.0.0.1", 0), Ollama) as server:
        server.asked = []
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        client = ollama.Client(host=f"http://127.0.0.1:{server.server_port}", trust_env=False)
        monkeypatch.setattr(ollama, "generate", client.generate)
        after = run_python(published, snippets(published.card)["Ollama"][-1])
        server.shutdown()
    path, asked = server.asked[0]
    assert (path, asked["raw"], asked["model"]) == ("/api/generate", True, "tiny-copie")
    assert asked["prompt"] == after["prompt"] and after["printed"] == "dit\n"
    assert asked["options"] == {"temperature": 0, "num_predict": 12, "repeat_penalty": 1.0}


@pytest.mark.slow
def test_every_block_of_python_is_python_and_every_block_of_shell_is_shell(published):
    python = [code for found in snippets(published.card).values() for code in found]
    shell = [code for found in snippets(published.card, "sh").values() for code in found]
    assert len(python) >= 5 and len(shell) >= 2
    for code in python:
        ast.parse(code)
    for code in shell:
        subprocess.run(["sh", "-n"], input=code, text=True, check=True)

"""Encoder-decoders, against transformers and PEFT alone: rows, loss and gradients, answers, memory, what is saved."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers
from peft import LoraConfig, PeftConfig, get_peft_model

from affinage.errors import AffinageError
from affinage.ludwig_ext import loss
from affinage.ludwig_ext.batches import IGNORED, Row, SpecialTokens, build_rows, collate

KINDS = ("t5", "flan", "bart")
SPECIAL = SpecialTokens(prefix=(), suffix=(1,), pad=0, eos=1, encoder_decoder=True)
LENGTHS = (7, 2, 30, 12, 3)


def _config(kind, vocabulary):
    if kind == "bart":
        return transformers.BartConfig(
            vocab_size=vocabulary,
            d_model=64,
            encoder_layers=2,
            decoder_layers=2,
            encoder_attention_heads=4,
            decoder_attention_heads=4,
            encoder_ffn_dim=128,
            decoder_ffn_dim=128,
            max_position_embeddings=256,
            pad_token_id=0,
            bos_token_id=2,
            eos_token_id=1,
            decoder_start_token_id=1,
            forced_eos_token_id=None,
        )
    sizes = {"d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4, "vocab_size": vocabulary}
    flan = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False} if kind == "flan" else {}
    return transformers.T5Config(**sizes, **flan, n_positions=256, decoder_start_token_id=0)


@pytest.fixture(scope="session")
def folders(tmp_path_factory, sentences):
    """A random model of each kind with the tokenizer of a tiny T5; Flan-T5 has an output layer of its own."""
    from affinage.tiny_models import make_tiny_model

    made = tmp_path_factory.mktemp("tokenizer") / "t5"
    rows = sentences(60)
    make_tiny_model("t5", [*rows["input"], *rows["output"], "copie ### Instruction: Input: Response:"], made)
    tokenizer, found = transformers.AutoTokenizer.from_pretrained(made), {}
    for kind in KINDS:
        torch.manual_seed(5)
        model = transformers.AutoModelForSeq2SeqLM.from_config(_config(kind, len(tokenizer)))
        if kind == "flan":
            model.lm_head.weight = torch.nn.Parameter(0.1 * torch.randn_like(model.lm_head.weight))
        found[kind] = str(tmp_path_factory.mktemp(kind))
        model.save_pretrained(found[kind])
        tokenizer.save_pretrained(found[kind])
    return found


@pytest.fixture
def config_of(folders, llm_config):
    return lambda kind, **sections: llm_config(**{"base_model": folders[kind], **sections})


def load(folder, enlarged=1.0):
    """Model and tokenizer; where weights are enlarged, what is said depends on what is read."""
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(enlarged)
    return model, transformers.AutoTokenizer.from_pretrained(folder)


def test_an_encoder_gets_its_end_token_and_an_answer_its_own():
    stored = ([0, 0, 5, 6, 1], [0, 7, 1])
    assert SPECIAL.prompt(stored[0]) == SPECIAL.prompt([5, 6]) == [5, 6, 1]
    assert SPECIAL.answer(stored[1]) == [7, 1]
    batch = collate(build_rows([stored[0], [1]], [stored[1], [8, 9, 1]], SPECIAL, 10).rows, pad=0)
    assert batch.input_ids.tolist() == [[5, 6, 1], [1, 0, 0]]
    assert batch.attention_mask.tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch.labels.tolist() == [[7, 1, IGNORED], [8, 9, 1]]
    assert (batch.answer_tokens, batch.tokens) == (5, 4 + 5)


def test_prompt_and_answer_have_the_limit_each_and_what_is_cut_is_counted():
    prompts, answers = [[5] * 9 + [1], [5, 1], [5, 1]], [[7, 1], [7] * 9 + [1], [7, 1]]
    rows = build_rows(prompts, answers, SPECIAL, 4)
    assert [row.ids.tolist() for row in rows.rows] == [[5, 5, 5, 1, 7, 1], [5, 1, 7, 7, 7, 7], [5, 1, 7, 1]]
    assert (rows.cut_rows, rows.cut_answer_tokens, rows.skipped) == (2, 6, [])


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_and_its_gradients_are_those_of_transformers(kind, config_of, trainer_of, sentences):
    rows = sentences(6)
    trainer = trainer_of(config_of(kind, adapter=None, prompt={"template": "{input}"}), rows)
    batch = collate(trainer.rows.rows, trainer.model.special.pad)
    trainer.model.model.eval()
    ours = trainer.nll(batch) / batch.answer_tokens
    ours.backward()
    found = {name: parameter.grad for name, parameter in trainer.model.model.named_parameters()}
    model, tokenizer = load(trainer.model.config_obj.base_model)
    prompts, answers = (tokenizer(rows[c].tolist(), padding=True, return_tensors="pt") for c in ("input", "output"))
    labels = answers.input_ids.masked_fill(answers.attention_mask == 0, IGNORED)
    expected = model(input_ids=prompts.input_ids, attention_mask=prompts.attention_mask, labels=labels).loss
    expected.backward()
    assert ours.item() == pytest.approx(expected.item(), rel=1e-5)
    assert found.keys() == dict(model.named_parameters()).keys()
    assert ("lm_head.weight" in found) == (kind == "flan")
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_logits_in_chunks_change_neither_the_loss_nor_a_gradient(kind, folders, monkeypatch):
    model, _ = load(folders[kind])
    model = get_peft_model(model, LoraConfig(target_modules=["q", "v"] if kind != "bart" else ["q_proj"]))
    rows = [Row(np.arange(10, 10 + n), n // 2, True) for n in (4, 9, 6)]
    batch, found = collate(rows, 0), []
    for at_once in (2**25, 3 * model.config.vocab_size):
        monkeypatch.setattr(loss, "LOGITS_AT_ONCE", at_once)
        model.zero_grad()
        nll = loss.answer_nll(model, batch)
        nll.backward()
        found.append((nll.detach(), *[p.grad.clone() for p in model.parameters() if p.requires_grad]))
        assert loss.answer_nll_by_row(model, batch) == pytest.approx(
            [loss.answer_nll(model, collate([row], 0)).item() for row in rows], rel=1e-5
        )
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_batched_greedy_answers_are_those_of_one_prompt_at_a_time(kind, folders):
    from affinage.generation import Answer, answer_all, decoder_start, generation_config

    model, tokenizer = load(folders[kind], enlarged=8.0)
    draw = np.random.default_rng(1)
    prompts = [[*draw.integers(10, len(tokenizer), n).tolist(), 1] for n in LENGTHS]
    start = {"decoder_start_token_id": decoder_start(model.config)}

    def alone(prompt, eos):
        settings = {"max_new_tokens": 10, "do_sample": False, "eos_token_id": eos, "pad_token_id": 0, **start}
        ids = torch.tensor([prompt])
        return model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **settings)[0, 1:].tolist()

    eos = alone(prompts[0], len(tokenizer) - 1)[4]  # a token that this model does say, so that some answers end early
    reference = [alone(prompt, eos) for prompt in prompts]
    expected = [Answer(ids[:-1], "end") if ids[-1] == eos else Answer(ids, "length") for ids in reference]
    config = generation_config({"max_new_tokens": 10, "eos_token_id": eos, **start}, tokenizer)
    for batch_size in (2, 5):
        assert answer_all(model, prompts, config, 256, batch_size) == expected, f"in batches of {batch_size}"
    assert len({tuple(answer.ids) for answer in expected}) == len(LENGTHS)


def test_a_prompt_takes_no_room_from_the_answer_and_one_beyond_the_context_is_an_error(folders):
    from affinage.generation import answers, generation_config

    model, tokenizer = load(folders["t5"])
    config = generation_config({"max_new_tokens": 20, "eos_token_id": 3, "decoder_start_token_id": 0}, tokenizer)
    [answer] = answers(model, [[9] * 31 + [1]], config, context_length=32)
    assert len(answer.ids) == 20 or answer.stop == "end"
    with pytest.raises(AffinageError, match="33 tokens"):
        answers(model, [[9] * 32 + [1]], config, context_length=32)


def test_ludwigs_own_classes_cannot_load_one(stock, config_of, monkeypatch):
    from ludwig.api import LudwigModel

    known = transformers.AutoModelForCausalLM._model_mapping._extra_content
    monkeypatch.delitem(known, transformers.T5Config, raising=False)
    with pytest.raises(ValueError, match="Unrecognized configuration class"):
        LudwigModel.create_model(LudwigModel(config_of("t5"), backend="local").config_obj, random_seed=1)


def test_the_adapter_says_that_it_is_for_an_encoder_decoder(config_of, prepare, sentences, affinage, tmp_path):
    model = prepare(config_of("t5"), sentences(8))[0].model
    model.save(str(tmp_path))
    saved = PeftConfig.from_pretrained(str(tmp_path / "model_weights"))
    assert (saved.task_type, sorted(saved.target_modules)) == ("SEQ_2_SEQ_LM", ["q", "v"])
    assert (model.generation.decoder_start_token_id, model.generation.eos_token_id) == (0, 1)


ALL = {"type": "lora", "target_modules": ["all-linear"], "dropout": 0.0}
TRAINER = {"type": "finetune", "epochs": 1, "batch_size": 4, "learning_rate": 0.001}
STEPS = [
    {"adapter": ALL},
    {"adapter": ALL, "quantization": {"bits": 4, "bnb_4bit_compute_dtype": "float32"}},
    {"adapter": ALL, "quantization": {"bits": 4, "bnb_4bit_compute_dtype": "bfloat16"}},
    {"adapter": ALL, "trainer": {**TRAINER, "enable_gradient_checkpointing": True}},
]


@pytest.mark.parametrize("sections", STEPS, ids=["lora", "4-bit", "4-bit bfloat16", "checkpointing"])
def test_every_adapter_weight_gets_the_gradient_it_has_without_bits_and_checkpoints(
    sections, config_of, trainer_of, sentences
):
    def gradients(sections):
        trainer = trainer_of(config_of("flan", **sections), sentences(8))
        trainer.model.model.train()
        torch.manual_seed(2)
        with torch.no_grad():
            for parameter in trainer.model.model.parameters():
                if parameter.requires_grad:
                    parameter.normal_(0, 0.05)
        for module in trainer.model.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        trainer.nll(collate(trainer.rows.rows, 0)).backward()
        return torch.cat([p.grad.flatten() for p in trainer.model.model.parameters() if p.requires_grad])

    plain, found = gradients({"adapter": ALL}), gradients(sections)
    assert torch.cosine_similarity(plain, found, dim=0) > (0.8 if "quantization" in sections else 0.9999)


@pytest.mark.parametrize("sections", [{}, {"adapter": None}, STEPS[1]], ids=["lora", "full", "4-bit"])
def test_the_memory_of_a_step_is_counted_as_a_real_step_allocates_it(sections, config_of, trainer_of, sentences):
    from affinage import training
    from affinage.footprint.ledger import Ledger, peak
    from affinage.footprint.skeleton import held
    from affinage.footprint.step import Batch, Skeleton

    trainer = trainer_of(config_of("flan", **sections), sentences(8))
    row = max(trainer.rows.rows, key=lambda row: len(row.ids))
    batch = collate([row] * 4, 0)
    trainer.model.model.train()
    tensors = [tensor for tensors in held(trainer.model.model).values() for tensor in tensors]
    with Ledger(tensors, "all") as ledger:
        (trainer.nll(batch) / batch.answer_tokens).backward()
    skeleton = Skeleton(training.resolve(config_of("flan", **sections), "test"), "cpu")
    kept = sum(tensor.untyped_storage().nbytes() for tensor in tensors)
    assert sum(skeleton.weights().values()) == pytest.approx(kept, rel=0.03)
    found = peak(skeleton.training(Batch(4, len(row.ids), row.answer_tokens)), {})
    assert sum(found.values()) == pytest.approx(sum(peak(ledger.entries, {}).values()), rel=0.05)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("google/flan-t5-base", 247_577_856), ("mistralai/Mistral-7B-Instruct-v0.3", 7_248_023_552)],
)
def test_the_shapes_of_the_quiz_have_as_many_parameters_as_the_published_models(name, parameters, tmp_path):
    from affinage.footprint.known_models import SHAPES
    from affinage.footprint.skeleton import empty_base

    (tmp_path / "config.json").write_text(json.dumps(SHAPES[name]), encoding="utf-8")
    names = SimpleNamespace(base_model=str(tmp_path), trust_remote_code=False)
    assert empty_base(names).num_parameters() == parameters


def test_a_prompt_that_is_too_long_for_an_encoder_is_not_cut_in_silence(folders):
    from affinage.prompts import encode

    tokenizer = transformers.AutoTokenizer.from_pretrained(folders["t5"], model_max_length=6)
    text = "le chat lit un livre rouge et la souris mange une pomme"
    [for_encoder], [for_causal] = encode([text], tokenizer, True), encode([text], tokenizer)
    assert len(for_encoder) > 6 >= len(for_causal)
    assert for_encoder == transformers.AutoTokenizer.from_pretrained(folders["t5"])(text).input_ids

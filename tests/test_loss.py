"""The loss and its LoRA gradients, against transformers and peft on one unpadded row at a time."""

import pytest
import torch

from affinage.ludwig_ext import loss
from affinage.ludwig_ext.batches import collate

CASES = [
    (architecture, tokenizer, batch_size)
    for architecture, tokenizer in [
        ("llama", "plain"),
        ("llama", "bos"),
        ("mistral", "bos"),
        ("mistral", "plain"),
        ("gpt2", "no_pad"),
        ("gpt2", "plain"),
        ("bloom", "plain"),
    ]
    for batch_size in (1, 4)
]


def lora_gradients(model):
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.requires_grad])


def randomise_adapter(model):
    """LoRA starts with B = 0, where half of the gradients vanish; a random B makes all of them count."""
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_(0, 0.1)


@pytest.fixture
def both_ways(reference_nll):
    """(our loss, its gradients, reference loss, its gradients) on the same rows and weights."""

    def compute(trainer, data, template, max_length=None):
        model = trainer.model.model
        randomise_adapter(model)
        ours = trainer.nll(collate(trainer.rows.rows, trainer.model.special.pad))
        ours.backward()
        our_gradients = lora_gradients(model)
        model.zero_grad()
        prompts = [template.format(**row) for row in data.to_dict("records")]
        theirs = reference_nll(model, trainer.model.tokenizer, prompts, data["output"], max_length)
        theirs.backward()
        return ours, our_gradients, theirs, lora_gradients(model)

    return compute


@pytest.mark.parametrize(("architecture", "tokenizer", "batch_size"), CASES)
def test_loss_and_gradients_equal_plain_transformers(
    llm_config, sentences, trainer_of, both_ways, architecture, tokenizer, batch_size
):
    config = llm_config(architecture, tokenizer)
    data = sentences(4)
    trainer = trainer_of(config, data)
    trainer.rows.rows[batch_size:] = []
    ours, our_gradients, theirs, their_gradients = both_ways(
        trainer, data.head(batch_size), config["prompt"]["template"]
    )
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)
    assert (our_gradients - their_gradients).norm() / their_gradients.norm() < 1e-5


def test_a_row_cut_at_the_length_limit_keeps_the_loss_of_what_is_left(llm_config, sentences, trainer_of, both_ways):
    data = sentences(6, seed=2)
    config = llm_config("gpt2", "no_pad", preprocessing={"global_max_sequence_length": 64})
    trainer = trainer_of(config, data)
    assert trainer.rows.cut_rows > 0
    kept = data.drop(index=trainer.rows.skipped)
    ours, our_gradients, theirs, their_gradients = both_ways(trainer, kept, config["prompt"]["template"], 64)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)
    assert (our_gradients - their_gradients).norm() / their_gradients.norm() < 1e-5


def test_an_end_token_inside_the_prompt_does_not_cut_it(llm_config, sentences, trainer_of, both_ways):
    template = "<|user|>{input}</s><|assistant|>"
    data = sentences(4)
    config = llm_config("gpt2", "no_pad", prompt={"template": template})
    ours, _, theirs, _ = both_ways(trainer_of(config, data), data, template)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)


def test_logits_are_computed_for_answer_positions_alone(llm_config, sentences, trainer_of):
    trainer = trainer_of(llm_config(), sentences(4))
    batch = collate(trainer.rows.rows, trainer.model.special.pad)
    seen = []
    head = trainer.model.model.get_output_embeddings()
    handle = head.register_forward_hook(lambda module, inputs, output: seen.append(tuple(output.shape)))
    trainer.nll(batch)
    handle.remove()
    assert seen == [(1, batch.answer_tokens, 320)]


@pytest.mark.parametrize(
    "sections", [{}, {"adapter": None}, {"quantization": {"bits": 4, "bnb_4bit_compute_dtype": "float32"}}]
)
@pytest.mark.parametrize(("architecture", "tokenizer"), [("llama", "bos"), ("gpt2", "no_pad")])
def test_logits_in_chunks_give_the_same_loss_and_gradients(
    llm_config, sentences, trainer_of, monkeypatch, architecture, tokenizer, sections
):
    trainer = trainer_of(llm_config(architecture, tokenizer, **sections), sentences(4))
    model, batch = trainer.model.model, collate(trainer.rows.rows, trainer.model.special.pad)
    if sections != {"adapter": None}:
        randomise_adapter(model)
    whole = trainer.nll(batch)
    whole.backward()
    expected = lora_gradients(model)
    model.zero_grad()
    monkeypatch.setattr(loss, "LOGITS_AT_ONCE", 7 * 320)
    seen = []
    handle = model.get_output_embeddings().register_forward_hook(lambda m, i, output: seen.append(output.numel()))
    chunked = trainer.nll(batch)
    handle.remove()
    (3 * chunked).backward()
    assert batch.answer_tokens > 14
    assert max(seen) <= 7 * 320
    assert chunked.item() == pytest.approx(whole.item(), rel=1e-6)
    assert (lora_gradients(model) - 3 * expected).norm() / (3 * expected).norm() < 1e-5
    assert loss.answer_nll_by_row(model, batch) == pytest.approx(by_row(model, batch), rel=1e-5)


def by_row(model, batch):
    with torch.no_grad():
        log_p = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits.float().log_softmax(-1)
    targets = batch.labels[:, 1:]
    picked = log_p[:, :-1].gather(2, targets.clamp(min=0).unsqueeze(2)).squeeze(2)
    return (-(picked * (targets != -100)).sum(1)).tolist()


def test_a_model_that_caps_its_logits_keeps_them_when_they_would_be_chunked(
    llm_config, sentences, trainer_of, monkeypatch
):
    trainer = trainer_of(llm_config(), sentences(4))
    model, batch = trainer.model.model, collate(trainer.rows.rows, trainer.model.special.pad)
    causal = model.get_base_model()
    plain = type(causal).forward

    def capped(self, *args, **kwargs):
        outputs = plain(self, *args, **kwargs)
        outputs.logits = 0.05 * torch.tanh(outputs.logits / 0.05)
        return outputs

    monkeypatch.setattr(type(causal), "forward", capped)
    expected = by_row(model, batch)
    monkeypatch.setattr(loss, "LOGITS_AT_ONCE", 320)
    assert loss.answer_nll_by_row(model, batch) == pytest.approx(expected, rel=1e-5)

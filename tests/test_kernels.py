"""Liger's kernels: what they would replace, what they leave to our loss, and that a CPU never sees them."""

import importlib

import pytest
import torch

from affinage.errors import AffinageError
from affinage.ludwig_ext import kernels, loss
from affinage.ludwig_ext.batches import collate

liger = pytest.importorskip("liger_kernel.transformers")


@pytest.fixture
def own_functions():
    """Liger writes into the modules of transformers; what stood there is put back after the test."""
    modules = [importlib.import_module(f"transformers.models.{kind}.modeling_{kind}") for kind in ("llama", "mistral")]
    before = [dict(vars(module)) for module in modules]
    yield
    for module, names in zip(modules, before, strict=True):
        vars(module).update(names)


@pytest.fixture
def trainer(llm_config, sentences, trainer_of):
    return lambda architecture: trainer_of(llm_config(architecture), sentences(4))


def test_on_a_cpu_nothing_is_replaced_and_nothing_is_said(trainer, sentences):
    ready = trainer("llama")
    assert kernels.use_quick_kernels(ready.model.model, ready.rows.rows, ready.model.special.pad) == ""
    modeling = importlib.import_module("transformers.models.llama.modeling_llama")
    assert modeling.apply_rotary_pos_emb.__module__ == modeling.__name__
    assert not any("forward" in vars(module) for module in ready.model.model.modules())


@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen2", "qwen3", "gemma", "phi3"])
def test_rotary_positions_norms_and_feed_forward_are_replaced_but_no_loss(kind):
    parts = kernels.kernels_for(kind)
    assert {"rope", "rms_norm", "geglu" if kind == "gemma" else "swiglu"} == set(parts)
    assert not set(kernels.LOSSES) & set(parts)


@pytest.mark.parametrize("kind", ["gpt2", "bloom", "no such type"])
def test_a_type_liger_does_not_know_has_no_kernels(kind):
    assert kernels.kernels_for(kind) == []


@pytest.mark.parametrize("kind", ["llama", "mistral"])
def test_every_norm_and_feed_forward_is_replaced_inside_an_adapter_and_the_loss_keeps_its_way(
    trainer, own_functions, kind
):
    model = trainer(kind).model.model
    base, head = model.get_base_model(), model.get_output_embeddings()
    before = (type(base).forward, head.forward.__func__, torch.nn.functional.cross_entropy)
    kernels.replace(model)
    replaced = {name.rsplit(".", 1)[-1] for name, module in base.named_modules() if "forward" in vars(module)}
    assert replaced == {"mlp", "input_layernorm", "post_attention_layernorm", "norm"}
    layer = base.model.layers[1]
    assert layer.mlp.forward.__func__ is liger.LigerSwiGLUMLP.forward
    assert layer.input_layernorm.forward.__func__ is liger.LigerRMSNorm.forward
    modeling = importlib.import_module(type(base).__module__)
    assert modeling.apply_rotary_pos_emb is liger.liger_rotary_pos_emb
    # the hook of loss.py sits on the output layer, and the logits are those the model's own forward gives
    assert "forward" not in vars(base) and "forward" not in vars(head)
    assert before == (type(base).forward, head.forward.__func__, torch.nn.functional.cross_entropy)


def test_the_loss_computes_at_answer_positions_whatever_the_layers_are(trainer, own_functions):
    ready = trainer("llama")
    model, batch = ready.model.model, collate(ready.rows.rows, ready.model.special.pad)
    expected = loss.answer_nll(model, batch).item()
    kernels.replace(model)
    modeling = importlib.import_module("transformers.models.llama.modeling_llama")
    plain_layers(model, modeling)
    assert loss.answer_nll(model, batch).item() == pytest.approx(expected, rel=1e-5)


def plain_layers(model, modeling):
    """Gives the replaced modules formulas that run on a CPU, in the same instance attributes."""

    def norm(module, x):
        return module.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + module.variance_epsilon)

    def feed_forward(module, x):
        return module.down_proj(torch.nn.functional.silu(module.gate_proj(x)) * module.up_proj(x))

    def rotate(q, k, cos, sin, *_):
        def turned(x):
            half = x.shape[-1] // 2
            return x * cos[:, None] + torch.cat([-x[..., half:], x[..., :half]], -1) * sin[:, None]

        return turned(q), turned(k)

    modeling.apply_rotary_pos_emb = rotate
    for module in model.modules():
        if "forward" in vars(module):
            formula = norm if hasattr(module, "variance_epsilon") else feed_forward
            module.forward = formula.__get__(module)


def test_kernels_that_change_the_loss_are_refused():
    kernels.check_loss(10.0, 10.05, "llama")
    for changed in (10.5, float("nan")):
        with pytest.raises(AffinageError, match="liger-kernel") as refused:
            kernels.check_loss(10.0, changed, "llama")
        assert "uninstall" in refused.value.problems[0].remedy

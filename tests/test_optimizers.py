"""Optimizers: each one of the schema steps on this machine, or is refused before anything is trained."""

import pytest
import torch
from ludwig.modules.optimization_modules import get_optimizer_class_and_kwargs
from ludwig.schema.optimizers import optimizer_registry

from affinage.errors import AffinageError
from affinage.ludwig_ext.batches import collate

EIGHT_BITS = "adagrad_8bit adam_8bit adamw_8bit lamb_8bit lars_8bit lion_8bit rmsprop_8bit sgd_8bit".split()
PAGED = "paged_adam paged_adam_8bit paged_adamw paged_adamw_8bit paged_lion paged_lion_8bit".split()
ELSEWHERE = {"lbfgs", "adafactor", "schedule_free_adamw"}  # refused, tested below, of a package that is not installed
RUNS_ANYWHERE = sorted(set(optimizer_registry) - {*EIGHT_BITS, *PAGED, *ELSEWHERE})
without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


def settings(optimizer, **more):
    trainer = {"type": "finetune", "epochs": 1, "batch_size": 4, "learning_rate": 0.001}
    return {**trainer, "optimizer": {"type": optimizer, **more}}


def losses_of_three_steps(trainer):
    batch = collate(trainer.rows.rows, trainer.model.special.pad)
    losses = []
    for _ in range(3):
        nll = trainer.nll(batch)
        (nll / batch.answer_tokens).backward()
        trainer._optimizer_step(trainer.dist_model.parameters())
        trainer.optimizer.zero_grad()
        losses.append(nll.item())
    return losses


def refusal(make):
    with pytest.raises(AffinageError) as refused:
        make()
    (problem,) = refused.value.problems
    return problem


@pytest.mark.parametrize("optimizer", RUNS_ANYWHERE)
def test_every_optimizer_that_needs_no_gpu_lowers_the_loss(llm_config, sentences, trainer_of, optimizer):
    sized = {"max_unorm": 0} if optimizer in ("lamb", "lars") else {}
    losses = losses_of_three_steps(trainer_of(llm_config(trainer=settings(optimizer, **sized)), sentences(4)))
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("optimizer", ["lamb", "lars"])
def test_steps_in_proportion_to_a_weight_are_refused_for_an_adapter_that_starts_at_zero(
    llm_config, sentences, trainer_of, optimizer
):
    problem = refusal(lambda: trainer_of(llm_config(trainer=settings(optimizer)), sentences(4)))
    assert problem.where == "trainer.optimizer.max_unorm" and problem.allowed == "0"
    losses = losses_of_three_steps(trainer_of(llm_config(adapter=None, trainer=settings(optimizer)), sentences(4)))
    assert losses[-1] < losses[0]


@without_cuda
@pytest.mark.parametrize("optimizer", ["adamw_8bit", "paged_adamw", "paged_adamw_8bit", "sgd_8bit"])
def test_without_a_gpu_an_8_bit_or_paged_optimizer_is_refused_and_the_plain_one_named(
    llm_config, sentences, trainer_of, optimizer
):
    more = {"momentum": 0.9} if optimizer == "sgd_8bit" else {}
    problem = refusal(lambda: trainer_of(llm_config(trainer=settings(optimizer, **more)), sentences(4)))
    plain = optimizer.removeprefix("paged_").removesuffix("_8bit")
    assert problem.where == "trainer.optimizer.type" and "needs a CUDA GPU" in problem.found
    assert f"'{plain}'" in problem.remedy and plain in RUNS_ANYWHERE


@pytest.mark.parametrize("optimizer", [*EIGHT_BITS, *PAGED])
def test_what_needs_a_gpu_is_made_from_its_config_and_steps_like_the_plain_one(affinage, optimizer):
    """On a CPU bitsandbytes steps as well, by the same formulas; a paged one then says that it cannot page."""

    def step(name):
        torch.manual_seed(5)
        weight = torch.nn.Parameter(torch.randn(64, 128))
        weight.grad = torch.randn(64, 128)
        before = weight.detach().clone()
        more = {"momentum": 0.9} if name.startswith("sgd") else {}
        kind, kwargs = get_optimizer_class_and_kwargs(optimizer_registry[name][1](type=name, **more), 0.001)
        kind([weight], **kwargs).step()
        return weight.detach() - before

    plain = optimizer.removeprefix("paged_").removesuffix("_8bit")
    moved, expected = step(optimizer), step(plain)
    assert moved.abs().max() > 0
    assert torch.nn.functional.cosine_similarity(moved.flatten(), expected.flatten(), dim=0) > 0.99


def test_stock_ludwig_makes_no_optimizer_of_bitsandbytes():
    import bitsandbytes

    config = optimizer_registry["adamw_8bit"][1]()
    settings = {key: value for key, value in config.to_dict().items() if key != "type"}
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        bitsandbytes.optim.AdamW8bit([torch.nn.Parameter(torch.zeros(2))], **settings)


def test_a_setting_that_would_be_left_out_is_refused(llm_config, sentences, trainer_of):
    problem = refusal(lambda: trainer_of(llm_config(trainer=settings("lion", percentile_clipping=5)), sentences(4)))
    assert problem.where == "trainer.optimizer.percentile_clipping" and problem.remedy == "Remove it."


def test_adafactor_trains_with_the_settings_that_its_refusal_names(llm_config, sentences, trainer_of):
    problem = refusal(lambda: trainer_of(llm_config(trainer=settings("adafactor")), sentences(4)))
    assert "'relative_step: false' and 'lr: 0.001'" in problem.remedy
    trainer = trainer_of(llm_config(trainer=settings("adafactor", relative_step=False, lr=0.001)), sentences(4))
    losses = losses_of_three_steps(trainer)
    assert losses[-1] < losses[0]

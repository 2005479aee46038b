"""Batched generation, against transformers' own `generate` on one unpadded prompt at a time."""

import random

import pytest
import torch
import transformers
from ludwig.schema.llms.generation import LLMGenerationConfig

from affinage.errors import AffinageError
from affinage.generation import SAMPLING_ONLY, Answer, answer_all, answers, generation_config, left_padded, run

MODELS = [("llama", "plain"), ("gpt2", "no_pad"), ("mistral", "bos"), ("bloom", "plain")]
NEW_TOKENS = 16
LENGTHS = (7, 1, 30, 12, 3, 30, 5)  # not in order


def load(folder):
    """Model and tokenizer; random weights are enlarged, so that attention and positions change the answers."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(6)
    return model, transformers.AutoTokenizer.from_pretrained(folder)


def prompts_of(lengths, seed=0):
    draw = random.Random(seed)
    return [[draw.randrange(10, 320) for _ in range(length)] for length in lengths]


def one_by_one(model, prompts, eos, pad, new_tokens=NEW_TOKENS):
    """New ids of each prompt alone, up to and with the end token."""
    settings = {"max_new_tokens": new_tokens, "do_sample": False, "eos_token_id": eos, "pad_token_id": pad}
    found = []
    for prompt in prompts:
        ids = torch.tensor([prompt])
        with torch.no_grad():
            output = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **settings)
        found.append(output[0, len(prompt) :].tolist())
    return found


@pytest.fixture
def llama(tiny_model):
    return load(tiny_model("llama", "plain"))


@pytest.mark.parametrize(("architecture", "tokenizer_kind"), MODELS)
def test_batched_greedy_answers_equal_those_of_one_prompt_at_a_time(tiny_model, architecture, tokenizer_kind):
    model, tokenizer = load(tiny_model(architecture, tokenizer_kind))
    prompts = prompts_of(LENGTHS)
    free = one_by_one(model, prompts, None, 2)
    eos = free[0][5]  # a token that this model does say, so that some answers end early
    config = generation_config({"max_new_tokens": NEW_TOKENS, "eos_token_id": eos}, tokenizer)
    reference = one_by_one(model, prompts, eos, config.pad_token_id)
    expected = [Answer(ids[:-1], "end") if ids[-1] == eos else Answer(ids, "length") for ids in reference]
    for batch_size in (1, 3, 7):
        assert answer_all(model, prompts, config, 256, batch_size) == expected, f"in batches of {batch_size}"
    assert {answer.stop for answer in expected} == {"end", "length"}
    assert len({tuple(answer.ids) for answer in expected}) == len(set(map(tuple, prompts)))


def test_padding_with_the_end_token_hides_no_end_token_of_a_prompt(tiny_model):
    model, tokenizer = load(tiny_model("gpt2", "no_pad"))
    prompts = [[*prompt[:3], 1, *prompt[3:]] for prompt in prompts_of(LENGTHS)]
    config = generation_config({"max_new_tokens": NEW_TOKENS}, tokenizer)
    assert config.pad_token_id == config.eos_token_id == 1
    expected = [[i for i in ids if i != 1] for ids in one_by_one(model, prompts, 1, 1)]
    assert [answer.ids for answer in answer_all(model, prompts, config, 256, 7)] == expected


def test_answers_come_in_the_order_of_the_prompts(llama):
    model, tokenizer = llama
    config = generation_config({"max_new_tokens": 4}, tokenizer)
    prompts = prompts_of((30, 2, 20, 4, 10))
    alone = [answer_all(model, [prompt], config, 256, 1)[0] for prompt in prompts]
    assert answer_all(model, prompts, config, 256, 2) == alone
    assert len({tuple(answer.ids) for answer in alone}) == 5


def test_padding_goes_to_the_left_with_a_mask_of_the_real_tokens():
    ids, mask = left_padded([[5, 6, 7], [8]], pad=2)
    assert ids.tolist() == [[5, 6, 7], [2, 2, 8]]
    assert mask.tolist() == [[1, 1, 1], [0, 0, 1]]


def test_an_end_token_in_the_last_place_is_an_end_and_stays_out_of_the_answer(llama):
    model, tokenizer = llama
    [prompt] = prompts_of((6,))
    [free] = one_by_one(model, [prompt], None, 2)
    first = free.index(free[3])
    config = generation_config({"max_new_tokens": first + 1, "eos_token_id": free[3]}, tokenizer)
    assert answers(model, [prompt], config, 256) == [Answer(free[:first], "end")]


def test_any_of_several_end_tokens_ends_an_answer(llama):
    model, tokenizer = llama
    [prompt] = prompts_of((6,))
    [free] = one_by_one(model, [prompt], None, 2)
    never_said = next(i for i in range(10, 320) if i not in free)
    config = generation_config({"max_new_tokens": 8, "eos_token_id": [never_said, free[2]]}, tokenizer)
    assert answers(model, [prompt], config, 256) == [Answer(free[: free.index(free[2])], "end")]


@pytest.mark.parametrize("wanted", [NEW_TOKENS, None])
def test_an_answer_stops_where_the_context_ends(llama, wanted):
    model, tokenizer = llama
    config = generation_config({"max_new_tokens": wanted}, tokenizer)
    config.eos_token_id = None
    [prompt] = prompts_of((27,))
    config.eos_token_id = 319 if 319 not in one_by_one(model, [prompt], None, 2)[0] else 318
    [answer] = answers(model, [prompt], config, context_length=32)
    assert (len(answer.ids), answer.stop) == (5, "length")
    assert config.max_new_tokens == wanted  # the caller's settings are as they were


def test_a_long_neighbour_does_not_shorten_an_answer(llama):
    # fault: the room of the longest prompt of a batch is taken for the room of all
    model, tokenizer = llama
    config = generation_config({"max_new_tokens": NEW_TOKENS}, tokenizer)
    prompts = prompts_of((4, 28))
    alone = [answer_all(model, [prompt], config, 32, 1)[0] for prompt in prompts]
    assert [len(answer.ids) for answer in alone] == [NEW_TOKENS, 4]
    assert answer_all(model, prompts, config, 32, 2) == alone


@pytest.mark.parametrize("length", [32, 40])
def test_a_prompt_that_fills_the_context_is_an_error_with_both_numbers(llama, length):
    model, tokenizer = llama
    config = generation_config({"max_new_tokens": 4}, tokenizer)
    with pytest.raises(AffinageError, match=rf"{length} tokens.*at most 31 tokens"):
        answers(model, prompts_of((length,)), config, context_length=32)


def test_a_prompt_one_token_below_the_context_gets_one_token(llama):
    model, tokenizer = llama
    config = generation_config({"max_new_tokens": 4, "eos_token_id": 5}, tokenizer)
    [answer] = answers(model, prompts_of((31,)), config, context_length=32)
    assert len(answer.ids) + (answer.stop == "end") == 1


SAMPLING = {
    "temperature": 0.1,
    "top_k": 7,
    "top_p": 0.5,
    "typical_p": 0.4,
    "epsilon_cutoff": 0.1,
    "eta_cutoff": 0.2,
}


def test_sampling_keys_are_dropped_when_generation_is_greedy(llama):
    _, tokenizer = llama
    config, defaults = generation_config({"do_sample": False, **SAMPLING}, tokenizer), transformers.GenerationConfig()
    assert set(SAMPLING) == set(SAMPLING_ONLY)
    assert {key: getattr(config, key) for key in SAMPLING} == {key: getattr(defaults, key) for key in SAMPLING}


def test_sampling_keys_count_when_it_samples(llama):
    _, tokenizer = llama
    config = generation_config({"do_sample": True, **SAMPLING}, tokenizer)
    assert {key: getattr(config, key) for key in SAMPLING} == SAMPLING


def test_the_same_seed_samples_the_same_answers_and_another_one_others(llama):
    model, tokenizer = llama
    config = generation_config({"do_sample": True, "temperature": 5.0, "max_new_tokens": 8}, tokenizer)
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(answer_all(model, prompts_of((4, 9)), config, 256, 2))
    assert found[0] == found[1] != found[2]


def test_ludwigs_defaults_do_not_limit_the_whole_to_max_length(llama):
    model, tokenizer = llama
    settings = LLMGenerationConfig(max_new_tokens=6, do_sample=False).to_dict()
    assert settings["max_length"] == 32
    config = generation_config(settings, tokenizer)
    assert config.max_length == transformers.GenerationConfig().max_length  # both limits together make a warning
    reference = one_by_one(model, prompts_of((40,)), tokenizer.eos_token_id, 2, 6)
    assert [answer.ids for answer in answers(model, prompts_of((40,)), config, 256)] == reference


@pytest.mark.parametrize(("kind", "pad"), [("plain", 2), ("no_pad", 1)])
def test_a_tokenizer_without_padding_pads_with_its_end_token(tiny_model, kind, pad):
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_model("llama", kind))
    config = generation_config({}, tokenizer)
    assert (config.pad_token_id, config.eos_token_id) == (pad, 1)


def test_dropout_is_off_while_answering_and_the_mode_comes_back(tiny_model):
    model, tokenizer = load(tiny_model("gpt2", "no_pad"))
    config = generation_config({"max_new_tokens": 12}, tokenizer)
    expected = answer_all(model, prompts_of(LENGTHS), config, 256, 4)
    assert not model.training
    model.train()
    assert answer_all(model, prompts_of(LENGTHS), config, 256, 4) == expected
    assert model.training
    assert model.transformer.drop.training


def test_the_mode_comes_back_after_an_error_too(llama):
    model, tokenizer = llama
    model.train()
    with pytest.raises(AffinageError):
        answer_all(model, prompts_of((4, 40)), generation_config({}, tokenizer), 32, 1)
    assert model.training


def test_progress_is_told_of_every_row_once_its_batch_is_done(llama):
    model, tokenizer = llama
    told = []
    answer_all(model, prompts_of(LENGTHS), generation_config({"max_new_tokens": 2}, tokenizer), 256, 3, told.append)
    assert told == [3, 3, 1]


def test_scores_are_those_of_the_answer_tokens(llama):
    model, tokenizer = llama
    prompts = prompts_of((3, 8))
    output = run(model, prompts, generation_config({"max_new_tokens": 4}, tokenizer), 256, scores=True)
    assert [step.argmax(-1).tolist() for step in output.scores] == output.sequences[:, 8:].T.tolist()

"""Escapes, placeholders and vLLM's limits, which the card is made with."""

import ast

import pytest
import yaml
from markdown_it import MarkdownIt

from affinage.publishing.card import placeholders
from affinage.publishing.card_prompt import generation_settings
from affinage.publishing.card_words import code, fence, python_text, readable_yaml
from affinage.publishing.vllm_limits import VllmLimits, vllm_limits

TEXTS = [
    "",
    "a\nb\n\n",
    '"""',
    'x"""y" ',
    "tail\\",
    '\\"',
    "\\n",
    "\r\n\t\x1b[0m\u2028\x00 é 🐈",
    "```\n````\n",
    "`a` | ``b``",
    "'''{x}'''\n---\n",
]
MARKDOWN = MarkdownIt("commonmark").enable("table")
UNFINISHED = "TO" + "DO"


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_in_python_evaluates_to_itself(text):
    assert ast.literal_eval(str(python_text(text))) == text


@pytest.mark.parametrize("text", [text for text in TEXTS if "\x00" not in text])
def test_a_fenced_text_is_one_block_with_nothing_changed(text):
    (block,) = MARKDOWN.parse(str(fence(text)))
    assert block.content == text.replace("\r\n", "\n").removesuffix("\n") + "\n" or not text


@pytest.mark.parametrize("text", ["a|b", "`", "``a`", "<b>", "a  b\nc"])
def test_a_code_span_holds_the_text_and_keeps_to_its_cell(text):
    tokens = MARKDOWN.parse(f"| a | b |\n|---|---|\n| {code(text)} | end |\n")
    cells = [token for token in tokens if token.type == "inline"]
    assert [child.content for child in cells[2].children if child.type == "code_inline"] == [" ".join(text.split())]
    assert cells[3].content == "end"


@pytest.mark.parametrize("text", TEXTS)
def test_the_readable_yaml_reads_back(text):
    config = {"b": {"text": text, "list": [1, text]}, "a": None}
    assert yaml.safe_load(readable_yaml(config)) == config
    assert list(yaml.safe_load(readable_yaml(config))) == ["b", "a"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "[More Information Needed] and [more information needed]",
            ["[More Information Needed]", "[more information needed]"],
        ),
        (f"{UNFINISHED}: say more\n- {UNFINISHED} again", [UNFINISHED]),
        ("by <your name>, at <...> and <repo-id>", ["<your name>", "<...>", "<repo-id>"]),
        ("```sh\nmake upload REPO=<user/name>\n```\n", ["<user/name>"]),
        ('```python\nload("<model>")\nprompt = """<user> ' + UNFINISHED + '"""\n```\n', ["<model>"]),
        (f"```text\n<user>\n{UNFINISHED}\n```\n\n````yaml\na: <name>\n```\nb: <name>\n````\n", []),
        (
            "A model's <s>, </s>, <|im_start|>, <pad>, <think> <https://huggingface.co>, 1 < 2 > 0, todo in Spanish",
            [],
        ),
        (f"| `<user>` | `{UNFINISHED}` |\n", []),
        (f"`{UNFINISHED}` in prose", [UNFINISHED]),
    ],
)
def test_placeholders_are_found_where_nobody_meant_them(text, found):
    assert placeholders(text) == found


@pytest.mark.parametrize(
    ("adapter", "model_type", "rank", "obstacles"),
    [
        ({"r": 8}, "llama", None, 0),
        ({"r": 16, "use_rslora": True}, "", None, 0),
        ({"r": 17}, "", 32, 0),
        ({"r": 8, "rank_pattern": {"q_proj": 100}}, "", 128, 0),
        ({"r": 513}, "", None, 1),
        ({"r": 8, "use_dora": True, "modules_to_save": ["lm_head"], "bias": "all"}, "gpt2", None, 4),
        ({"peft_type": "IA3"}, "mistral", None, 1),
    ],
)
def test_vllm_s_limits(adapter, model_type, rank, obstacles):
    found = vllm_limits(adapter, model_type)
    assert isinstance(found, VllmLimits) and (found.max_lora_rank, len(found.obstacles)) == (rank, obstacles)


def test_settings_name_what_would_change_an_answer_and_nothing_else():
    given = {
        "max_new_tokens": 64,
        "do_sample": False,
        "temperature": 0.1,
        "top_k": 50,
        "num_beams": 1,
        "pad_token_id": 3,
    }
    assert generation_settings(given) == {"max_new_tokens": 64, "do_sample": False, "repetition_penalty": 1.0}
    sampled = generation_settings(given | {"do_sample": True, "num_beams": 4, "repetition_penalty": 1.2})
    assert sampled == {
        "max_new_tokens": 64,
        "do_sample": True,
        "repetition_penalty": 1.2,
        "num_beams": 4,
        "temperature": 0.1,
        "top_k": 50,
    }

"""The card of a published model: a README.md with the Hub's metadata, and nothing but what is known of the run."""

import re
from collections.abc import Iterable
from pathlib import Path

from huggingface_hub import ModelCardData

from affinage.configs import read_config
from affinage.escaping import escaping_environment
from affinage.publishing import card_results, card_training
from affinage.publishing.card_data import DataFacts, data_facts
from affinage.publishing.card_judgements import judgements
from affinage.publishing.card_prompt import prompt_facts
from affinage.publishing.card_use import Use, use_of
from affinage.publishing.card_words import code, fence, prose, public_config, python_text, python_value, readable_yaml
from affinage.publishing.publication import Publication
from affinage.publishing.safety import sanitised
from affinage.runs import USER_CONFIG

TEMPLATES = Path(__file__).parent / "templates"
LIBRARIES = {"adapter": "peft", "full": "transformers", "merged": "transformers", "gguf": "llama-cpp-python"}
# The Hub calls a mixture of several models a merge; an adapter that was added to its base is a fine-tuned model.
RELATIONS = {"adapter": "adapter", "full": "finetune", "merged": "finetune", "gguf": "quantized"}
KINDS = {
    "full": "a fine-tuned version of",
    "merged": "a fine-tuned version (adapter merged in) of",
    "gguf": "a fine-tuned version, as GGUF, of",
}
MEASURED = ("adapter", "full")  # what the evaluation ran on; the others are made from it
FILTERS = {
    "number": "{:,}".format,
    "md": prose,
    "code": code,
    "fence": fence,
    "python_text": python_text,
    "python": python_value,
}
ADDRESS = re.compile(r"https?://[^\s()<>\[\]\"'\\]+")

LEFTOVERS = re.compile(r"(?i:\[More Information Needed\])|\b(?:TO" + r"DO|FIX" + r"ME|TBD|XXX)\b")
WORDS = "your|insert|fill|name|user|repo|path|model|base|licen[cs]e|token|dataset|task|language|run|id|link|url|e-?mail"
BRACKETS = re.compile(rf"<(?:\.\.\.|…|(?:{WORDS})[\w ./:|-]{{0,60}})>", re.IGNORECASE)
FENCED = re.compile(r"^(?P<ticks>`{3,})(?P<language>\w*)\n(?P<text>.*?)^(?P=ticks)$", re.MULTILINE | re.DOTALL)
QUOTED = re.compile(r'"""(?:\\.|[^\\])*?"""', re.DOTALL)
CODE_IN_TABLE = re.compile(r"(?<!`)(`+)(?!`).+?(?<!`)\1(?!`)")


def card_text(publication: Publication) -> str:
    """The whole README.md of the repository, metadata included.

    Raises AffinageError for a run whose configs cannot be read, or that lacks the GGUF file it is to be published as.
    """
    run = publication.run
    config, user = read_config(run.folder / "config.yaml"), read_config(run.folder / USER_CONFIG)
    evaluation, data = card_results.newest_evaluation(run), data_facts(run)
    use = use_of(publication, config, prompt_facts(run, config, evaluation))
    metadata = _metadata(publication, data, evaluation, use)
    judged, left_out = judgements(evaluation)
    body = (
        escaping_environment(TEMPLATES, FILTERS, keep_trailing_newline=True)
        .get_template("model_card.md.j2")
        .render(
            publication=publication,
            run=run,
            manifest=run.manifest,
            kind=_kind(publication, use),
            measured=publication.kind in MEASURED,
            data=data,
            languages=metadata.language or [],
            evaluation=evaluation,
            results=card_results,
            judgements=judged,
            judgements_left_out=left_out,
            training=card_training.training_lines(run, config, use.adapter),
            precision=card_training.precision(config),
            versions=card_training.versions(run),
            make=sanitised(str(run.manifest.get("make", "")), {}),
            pictures=pictures(publication),
            yaml=readable_yaml(public_config(user, publication.base)),
            prompt=use.prompt,
            use=use,
            licence_address=publication.licence_link if ADDRESS.fullmatch(publication.licence_link) else "",
        )
    )
    return f"---\n{metadata.to_yaml()}\n---\n\n" + _tidy(body)


def pictures(publication: Publication) -> dict[str, Path]:
    """The pictures that the card shows: the name in the repository, and the file here."""
    loss = publication.run.folder / "plots" / "loss.png"
    return {"loss.png": loss} if loss.is_file() else {}


def placeholders(text: str) -> list[str]:
    """What somebody forgot to fill in, such as "[More Information Needed]" or "<your name>", each once, in order.

    Prompts, configs and data are not searched: blocks of text and YAML, Python's texts in triple quotes, and code in
    tables. A model's own marks, such as <s> and <|im_start|>, are none.
    """

    def block(match: re.Match[str]) -> str:
        return "" if match["language"] in ("text", "yaml", "json") else QUOTED.sub("", match["text"])

    searched = FENCED.sub(block, text)
    lines = [CODE_IN_TABLE.sub("", line) if line.startswith("|") else line for line in searched.splitlines()]
    rest = "\n".join(lines)
    found = [(match.start(), match[0]) for pattern in (LEFTOVERS, BRACKETS) for match in pattern.finditer(rest)]
    return list(dict.fromkeys(words for _, words in sorted(found)))


def _tidy(body: str) -> str:
    """The text with one blank line at most between paragraphs; fenced blocks keep theirs."""
    pieces, at = [], 0
    for block in FENCED.finditer(body):
        pieces += [re.sub(r"\n{3,}", "\n\n", body[at : block.start()]), block[0]]
        at = block.end()
    pieces.append(re.sub(r"\n{3,}", "\n\n", body[at:]))
    return "".join(pieces).strip() + "\n"


def _metadata(
    publication: Publication, data: DataFacts, evaluation: card_results.Evaluation, use: Use
) -> ModelCardData:
    """What the Hub reads of the card; what is not known is left out of it."""
    name = publication.repo.rpartition("/")[2]
    scores = list(card_results.eval_results(evaluation, *_dataset(publication, data)))
    scores = scores if publication.kind in MEASURED else []
    other = publication.licence == "other"
    return ModelCardData(
        base_model=publication.base,
        base_model_relation=RELATIONS[publication.kind],
        library_name=LIBRARIES[publication.kind],
        pipeline_tag="text-generation",
        language=list(publication.language or data.languages) or None,
        license=publication.licence or None,
        license_name=(other and _one_line(publication.licence_name)) or None,
        license_link=(other and _one_line(publication.licence_link)) or None,
        datasets=[data.hub_id] if data.hub_id else None,
        tags=list(_tags(publication, data, use)),
        model_name=name if scores else None,
        eval_results=scores or None,
    )


def _dataset(publication: Publication, data: DataFacts) -> tuple[str, str]:
    """The id and the name of the dataset in the metadata."""
    task = publication.run.manifest["task"]
    return data.hub_id or _one_line(task), _one_line(data.name)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _tags(publication: Publication, data: DataFacts, use: Use) -> Iterable[str]:
    yield from ("ludwig", "affinage")
    if publication.kind == "gguf":
        yield "gguf"
    if use.adapter:
        yield str(use.adapter.get("peft_type", "LORA")).lower()
        yield from (tag for tag, key in (("dora", "use_dora"), ("rslora", "use_rslora")) if use.adapter.get(key))
    if use.quantization.get("bits"):
        yield f"{use.quantization['bits']}-bit"
    if data.silver:
        yield "silver-standard"


def _kind(publication: Publication, use: Use) -> str:
    """What is published, in words that the base model follows."""
    if publication.kind == "adapter":
        return f"a {use.adapter.get('peft_type', 'LORA').replace('LORA', 'LoRA')} adapter for"
    return KINDS[publication.kind]

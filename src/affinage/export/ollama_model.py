"""A run as a model of Ollama: created there from its GGUF file, and compared with the run's own answers."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
from tqdm import tqdm
from transformers import AutoTokenizer

from affinage import training
from affinage.chat_template import columns_from, columns_of, prompt_of
from affinage.configs import read_config
from affinage.console import progress_bar_options
from affinage.data import sha256
from affinage.errors import AffinageError, Problem
from affinage.export.modelfile import Instructions, instructions
from affinage.ludwig_ext import register
from affinage.ludwig_ext.seq2seq import refuse_export
from affinage.model_types import refuse_encoder
from affinage.ollama_models import Server, find_server, server_version
from affinage.prompts import encode
from affinage.runs import USER_CONFIG, Run, write_json

CHUNK = 2**20  # bytes
TRIALS = 3
AGAIN = "Run the command again: what the server has already is not sent twice."


@dataclass(frozen=True)
class Export:
    """What becomes the model `name`: a GGUF file, what Ollama is told, and the run whose answers it must give."""

    run: Run
    name: str
    quantization: str
    weights: Path
    sha256: str
    instructions: Instructions
    config: Any
    tokenizer: Any

    @property
    def modelfile(self) -> Path:
        return self.weights.parent / f"{self.weights.stem}.Modelfile"


@dataclass(frozen=True)
class Trial:
    """One prompt put to Ollama: `how` is "raw" (the rendered prompt) or "chat" (through the TEMPLATE).

    `prompt_tokens` and `ollama_prompt_tokens` differ where the two put other special tokens around a text.
    """

    id: str
    how: str
    prompt: str
    run_answer: str
    ollama_answer: str
    prompt_tokens: int
    ollama_prompt_tokens: int | None

    @property
    def equal(self) -> bool:
        return self.run_answer == self.ollama_answer

    @property
    def same_tokens(self) -> bool:
        return self.ollama_prompt_tokens in (None, self.prompt_tokens)


def prepare(
    run: Run, name: str, quantization: str, system: str = "", licence: str = "", pre_tokenizer: str = ""
) -> Export:
    """The GGUF file of a run, made when it is not there, with a Modelfile beside it.

    `pre_tokenizer` is handed to `export_gguf`. Raises AffinageError for a run that cannot be exported, a GGUF file that
    does not answer as the run does, and a prompt or text that Ollama cannot be told.
    """
    refuse_encoder(run, "answer through Ollama")
    register()
    config = training.resolve(read_config(run.folder / USER_CONFIG), str(run.folder))
    refuse_export(config, "Ollama")
    if not any(run.weights_folder.glob("*.safetensors")):
        found = f"left no model behind (status: {run.status})."
        remedy = f"Finish it with make train RESUME={run.folder.name}, or name another run."
        raise AffinageError(Problem(f"run {run.folder.name}", found, remedy=remedy))
    tokenizer = AutoTokenizer.from_pretrained(run.weights_folder)
    told = instructions(config, tokenizer, system, licence)
    weights, digest = _gguf(run, quantization, licence, pre_tokenizer)
    export = Export(run, name, quantization, weights, digest, told, config, tokenizer)
    partial = export.modelfile.with_name(export.modelfile.name + ".partial")
    partial.write_text(told.modelfile(f"./{weights.name}"), encoding="utf-8")
    partial.replace(export.modelfile)
    return export


def _gguf(run: Run, quantization: str, licence: str, pre_tokenizer: str) -> tuple[Path, str]:
    path = run.folder / "export" / f"{run.manifest['task']}-{run.manifest['config']}-{quantization}.gguf"
    trained = max(weights.stat().st_mtime for weights in run.weights_folder.glob("*.safetensors"))
    if path.is_file() and path.stat().st_mtime >= trained:  # a run that was gone on with needs a new file
        return path, sha256(path)
    from affinage.export.gguf_model import export_gguf

    made = export_gguf(run, quantization, pre_tokenizer=pre_tokenizer, licence=licence)
    if not made.verified:
        faults = f"does not answer as the run does: {'; '.join(map(str, made.check['faults']))}."
        remedy = "What was measured is in gguf.json beside it. Where logits alone differ, QUANT=f16 is closer."
        raise AffinageError(Problem(str(made.path), faults, remedy=remedy))
    return made.path, made.sha256


def running_server(host: str = "") -> tuple[Server, str] | None:
    """The Ollama server and its version, None when none listens. Raises AffinageError as `server_version` does."""
    server = find_server(host)
    try:
        return server, server_version(server)
    except AffinageError as error:
        if isinstance(error.__cause__, ConnectionError | httpx.ConnectError | httpx.ConnectTimeout):
            return None
        raise


def create(server: Server, export: Export, replace: bool = False) -> str:
    """Sends the file unless the server has it, creates the model, and gives the digest of what the server has then.

    Raises AffinageError for a name that is taken (unless `replace`), and for whatever goes wrong on the way.
    """
    client = server.open_ollama()
    with _create_faults(server, export.name):
        taken = {model.model.lower() for model in client.list().models if model.model}
        if _tagged(export.name) in taken and not replace:
            remedy = "Choose another NAME, or replace it: --replace (REPLACE=1 with make)."
            raise AffinageError(Problem(f"model {export.name}", f"is on {server.url} already.", remedy=remedy))
        blob = f"sha256:{export.sha256}"
        _send(server, export.weights, blob)
        told = export.instructions
        last = ""
        with tqdm(desc=f"creating {export.name}", unit=" steps", **progress_bar_options()) as bar:
            for progress in client.create(
                model=export.name,
                files={export.weights.name: blob},
                template=told.template,
                system=told.system or None,
                license=told.licence or None,
                parameters=told.parameters,
                stream=True,
            ):
                last = progress.status or ""
                bar.set_postfix_str(last)
                bar.update()
        if last != "success":
            raise AffinageError(Problem(f"model {export.name}", f"the creation ended at '{last}'.", remedy=AGAIN))
        found = [model.digest for model in client.list().models if (model.model or "").lower() == _tagged(export.name)]
    if not found:
        raise AffinageError(Problem(f"model {export.name}", f"is not on {server.url} though it was created."))
    return found[0] or ""


def _send(server: Server, path: Path, blob: str) -> None:
    size = path.stat().st_size
    with server.open_http(600.0) as http:
        if http.head(f"/api/blobs/{blob}").status_code == 200:
            return
        with (
            path.open("rb") as file,
            tqdm(desc=f"sending {path.name}", total=size, unit="B", unit_scale=True, **progress_bar_options()) as bar,
        ):
            content = _chunks(file, bar)
            answer = http.post(f"/api/blobs/{blob}", content=content, headers={"content-length": str(size)})
    answer.raise_for_status()


def _chunks(file: Any, bar: tqdm) -> Iterator[bytes]:
    while chunk := file.read(CHUNK):
        yield chunk
        bar.update(len(chunk))


def _tagged(name: str) -> str:
    return name if ":" in name else f"{name}:latest"


@contextmanager
def _create_faults(server: Server, name: str) -> Iterator[None]:
    """Turns what the two clients raise into an AffinageError that says what to do."""
    import ollama

    try:
        yield
    except httpx.HTTPStatusError as error:
        raise _refused(name, error.response.status_code, error.response.text) from error
    except ollama.ResponseError as error:  # in the middle of the creation it comes without a status
        raise _refused(name, error.status_code, error.error) from error
    except (ConnectionError, httpx.HTTPError, ValueError) as error:
        found = f"the server stopped answering ({type(error).__name__})."
        raise AffinageError(Problem(f"model {name} on {server.url}", found, remedy=AGAIN)) from error


def _refused(name: str, status: int, text: str) -> AffinageError:
    try:
        text = str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        text = text.strip()[:500]
    full = "no space left" in text or "not enough" in text
    remedy = "Free space where Ollama keeps its models (OLLAMA_MODELS). " + AGAIN if full else "Read the server's log."
    status_text = f" (HTTP {status})" if status > 0 else ""
    return AffinageError(
        Problem(f"model {name}", f"was not created: {text or 'no reason given'}{status_text}.", remedy=remedy)
    )


def compare(server: Server, export: Export) -> list[Trial]:
    """Three test prompts as they are, and one through the chat TEMPLATE; without answers of the run, none.

    Raises AffinageError when Ollama cannot answer.
    """
    path = export.run.folder / "predictions.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    records = [json.loads(lines[i * len(lines) // TRIALS]) for i in range(min(TRIALS, len(lines)))]
    client = server.open_ollama()
    trials = []
    with _answer_faults(export.name):
        for record in records:
            reply = client.generate(export.name, record["prompt"], raw=True, stream=False)
            trials.append(_trial(export, record, "raw", reply, reply.response))
        chats = [(record, found) for record in records if (found := _messages(export, record))]
        for record, messages in chats[:1]:
            reply = client.chat(export.name, messages, stream=False)
            trials.append(_trial(export, record, "chat", reply, reply.message.content or ""))
    return trials


def _messages(export: Export, record: dict[str, Any]) -> list[dict[str, str]] | None:
    """The messages that make up a record's prompt; None when its columns are not known or are more than two."""
    given = [str(record.get(column, "")) for column in columns_of(export.config)]
    texts = [given[0]] if len(given) == 1 or not given[1] else given[:2]
    user, system = texts[-1], texts[0] if len(texts) == 2 else ""
    if prompt_of(export.config, columns_from(export.config, user, system)) != record["prompt"]:
        return None
    return [*([{"role": "system", "content": system}] if system else []), {"role": "user", "content": user}]


def _trial(export: Export, record: dict[str, Any], how: str, reply: Any, answer: str) -> Trial:
    if not reply.done or reply.done_reason not in ("stop", "length"):
        found = f"the answer to test row {record.get('id', '')} broke off ({reply.done_reason})."
        raise AffinageError(Problem(f"model {export.name}", found, remedy="Read the server's log."))
    asked = len(encode([record["prompt"]], export.tokenizer)[0])
    tokens = reply.prompt_eval_count
    return Trial(str(record.get("id", "")), how, record["prompt"], record["tuned"], answer, asked, tokens)


@contextmanager
def _answer_faults(name: str) -> Iterator[None]:
    import ollama

    try:
        yield
    except (ollama.ResponseError, ConnectionError, httpx.HTTPError, ValueError) as error:
        found = f"was created, but gives no answer: {error or type(error).__name__}."
        raise AffinageError(Problem(f"model {name}", found, remedy="Read the server's log.")) from error


def record(export: Export, created: dict[str, str] | None = None, trials: Sequence[Trial] = ()) -> Path:
    """Writes <run>/export/ollama.json: what was made, where it was `created` if it was, and how the answers compare."""
    told = export.instructions
    content = {
        "name": export.name,
        "weights": {"file": export.weights.name, "sha256": export.sha256, "quantization": export.quantization},
        "modelfile": export.modelfile.name,
        "template": told.template,
        "system": told.system,
        "parameters": told.parameters,
        "notes": told.notes,
        "created": created,
        "agreement": agreement(trials),
        "trials": [{**asdict(trial), "equal": trial.equal} for trial in trials],
    }
    path = export.run.folder / "export" / "ollama.json"
    write_json(path, content)
    return path


def agreement(trials: Sequence[Trial]) -> dict[str, dict[str, int]]:
    """For each way of asking: how many trials there were (n), and how many gave the run's own answer."""
    ways = dict.fromkeys(trial.how for trial in trials)
    return {
        how: {"n": sum(t.how == how for t in trials), "equal": sum(t.how == how and t.equal for t in trials)}
        for how in ways
    }

"""Calls into llama.cpp, each in a process of its own."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from tqdm import tqdm

from affinage.console import progress_bar_options
from affinage.errors import AffinageError, Problem
from affinage.export.llama_cpp import LlamaCpp

LAST_LINES = 8  # of what a process that ended badly said


@dataclass(frozen=True)
class Evaluation:
    """What a GGUF file says: ids of texts, next-token logits (prompts, vocabulary), greedy answers as ids."""

    ids: list[list[int]]
    logits: np.ndarray
    answers: list[list[int]]


def convert(
    llama: LlamaCpp,
    model: Path,
    target: Path,
    type: str,
    bos: bool,
    pre_tokenizer: str = "",
    name: str = "",
    description: str = "",
    card: dict[str, Any] | None = None,
) -> bool:
    """Writes a transformers folder as a GGUF file of floats.

    `type` is f32, f16 or bf16; `bos` says whether a prompt begins with the start token. False, and nothing written,
    when the converter does not know the tokenizer and `pre_tokenizer` names none. Raises AffinageError with the
    converter's last lines when it fails.
    """
    with TemporaryDirectory() as folder:
        metadata = Path(folder) / "metadata.json"
        metadata.write_text(json.dumps({"general.description": description} if description else {}), encoding="utf-8")
        answer = _call(
            "conversion_process",
            growing=target,
            source=str(llama.source),
            model=str(model),
            target=str(target),
            type=type,
            bos=bos,
            pre_tokenizer=pre_tokenizer,
            name=name or model.name,
            metadata=str(metadata),
            card=card or {},
        )
    return "unrecognised" not in answer


def quantize(llama: LlamaCpp, source: Path, target: Path, quantization: str) -> None:
    """Writes a GGUF file of floats as `quantization` (q8_0, q4_k_m). Raises AffinageError when llama.cpp fails."""
    _call(
        "llama_process",
        growing=target,
        task="quantize",
        library=str(llama.library),
        source=str(source),
        target=str(target),
        quantization=quantization,
    )


def evaluate(
    llama: LlamaCpp,
    model: Path,
    texts: Sequence[str],
    prompts: Sequence[Sequence[int]],
    new_tokens: int = 0,
    ends: Sequence[int] = (),
    adapter: Path | None = None,
) -> Evaluation:
    """How the file cuts `texts`, the logits after each prompt (ids), and answers of up to `new_tokens` that stop at
    one of `ends`. Raises AffinageError when llama.cpp cannot read or run the file.
    """
    with TemporaryDirectory() as folder:
        logits = Path(folder) / "logits.npy"
        answer = _call(
            "llama_process",
            task="evaluate",
            library=str(llama.library),
            model=str(model),
            adapter=str(adapter) if adapter else None,
            texts=list(texts),
            prompts=[list(ids) for ids in prompts],
            new_tokens=new_tokens,
            ends=list(ends),
            context=max((len(ids) for ids in prompts), default=1) + new_tokens + 1,
            logits=str(logits),
        )
        rows = np.load(logits) if prompts else np.zeros((0, 0), dtype=np.float32)
    return Evaluation(answer["ids"], rows, answer["answers"])


def _call(module: str, growing: Path | None = None, **request: Any) -> dict[str, Any]:
    """What the process answers; a bar shows how the file `growing` is written."""
    with TemporaryDirectory() as folder:
        asked, reply, log = (Path(folder) / name for name in ("request.json", "reply.json", "said.txt"))
        asked.write_text(json.dumps(request | {"reply": str(reply)}), encoding="utf-8")
        command = [sys.executable, "-m", f"affinage.export.{module}"]
        with asked.open("rb") as given, log.open("wb") as said:
            process = subprocess.Popen(command, stdin=given, stdout=said, stderr=said)
            try:
                _wait(process, growing)
            finally:
                process.kill()  # after Ctrl-C; one that has ended is not touched
                process.wait()
        if process.returncode == 0 and reply.is_file():
            return json.loads(reply.read_text(encoding="utf-8"))
        lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    last = "\n  ".join([line for line in lines if line][-LAST_LINES:])
    raise AffinageError(Problem("llama.cpp", f"ended with code {process.returncode}; it said last:\n  {last}"))


def _wait(process: subprocess.Popen[bytes], growing: Path | None) -> None:
    options = progress_bar_options() | {"desc": "writing", "unit": "B", "unit_scale": True, "delay": 5}
    with tqdm(disable=growing is None, **options) as bar:
        while process.poll() is None:
            time.sleep(0.05)
            if growing is not None and growing.is_file():
                bar.update(growing.stat().st_size - bar.n)

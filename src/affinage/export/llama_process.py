"""What llama.cpp's library does for an export, in a process of its own: a crash in it ends this process alone.

Run as `python -m affinage.export.llama_process`; reads one request as JSON from standard input and writes the answer,
as JSON, to the file that the request names.
"""

import ctypes
import importlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

FILE_TYPES = {"f32": 0, "f16": 1, "q8_0": 7, "q4_k_m": 15, "bf16": 32}  # llama.h, enum llama_ftype


def library(folder: str) -> Any:
    """The functions of llama.h through ctypes.

    The package's own __init__ is not run: it wants more packages, for a class that is not used here.
    """
    package = ModuleType("llama_cpp")
    package.__path__ = [str(Path(folder) / "llama_cpp")]
    sys.modules["llama_cpp"] = package
    functions = importlib.import_module("llama_cpp.llama_cpp")
    functions.llama_backend_init()
    return functions


def quantize(llama: Any, source: str, target: str, quantization: str) -> dict[str, Any]:
    """Writes `source` with quantized weights to `target`."""
    parameters = llama.llama_model_quantize_default_params()
    parameters.ftype, parameters.nthread = FILE_TYPES[quantization], threads()
    code = llama.llama_model_quantize(source.encode(), target.encode(), ctypes.byref(parameters))
    if code:
        raise RuntimeError(f"llama_model_quantize gave {code}")
    return {}


def threads() -> int:
    """As many as OMP_NUM_THREADS allows, which llama.cpp does not read by itself."""
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return int(limit) if limit.isdigit() else os.cpu_count() or 1


def evaluate(llama: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Ids of `texts`, logits after `prompts` (saved as an array to `logits`), and greedy answers to them as ids."""
    model = _Model(llama, request["model"], request.get("adapter"), request["context"])
    ids = [model.token_ids(text) for text in request["texts"]]
    rows, answers = [], []
    for prompt in request["prompts"]:
        first, answer = model.answer(prompt, request["new_tokens"], request["ends"])
        rows.append(first)
        answers.append(answer)
    if rows:
        np.save(request["logits"], np.stack(rows))
    return {"ids": ids, "answers": answers}


class _Model:
    """A GGUF file, with an adapter or without, that answers one prompt at a time on the processor."""

    def __init__(self, llama: Any, path: str, adapter: str | None, context: int) -> None:
        self.llama = llama
        parameters = llama.llama_model_default_params()
        parameters.n_gpu_layers = 0
        self.model = _there(llama.llama_model_load_from_file(path.encode(), parameters), path)
        self.vocabulary = llama.llama_model_get_vocab(self.model)
        self.width = llama.llama_vocab_n_tokens(self.vocabulary)
        # before the context, which reserves memory for the adapter
        self.adapter = adapter and _there(llama.llama_adapter_lora_init(self.model, adapter.encode()), adapter)
        self.context = _there(llama.llama_init_from_model(self.model, self._context_parameters(context)), "context")
        if self.adapter:
            adapters = (llama.llama_adapter_lora_p_ctypes * 1)(self.adapter)
            llama.llama_set_adapters_lora(self.context, adapters, 1, (ctypes.c_float * 1)(1.0))

    def _context_parameters(self, context: int) -> Any:
        """Keys and values in float32: what is compared is the file, not the shortcuts of one way to run it."""
        llama = self.llama
        parameters = llama.llama_context_default_params()
        parameters.n_ctx = parameters.n_batch = parameters.n_ubatch = context
        parameters.n_threads = parameters.n_threads_batch = threads()
        parameters.flash_attn_type = llama.LLAMA_FLASH_ATTN_TYPE_DISABLED
        parameters.type_k = parameters.type_v = llama.GGML_TYPE_F32
        return parameters

    def token_ids(self, text: str) -> list[int]:
        """As llama.cpp's programs read a prompt: with its special tokens, and with those written in the text."""
        data = text.encode()
        room = len(data) + 8
        ids = (self.llama.llama_token * room)()
        n = self.llama.llama_tokenize(self.vocabulary, data, len(data), ids, room, True, True)
        return list(ids[:n])

    def answer(self, prompt: Sequence[int], new_tokens: int, ends: Sequence[int]) -> tuple[np.ndarray, list[int]]:
        """The logits after the prompt (vocabulary,), and up to `new_tokens` greedy ids without the end token."""
        self.llama.llama_memory_clear(self.llama.llama_get_memory(self.context), True)
        first = logits = self._decode(prompt)
        answer: list[int] = []
        while len(answer) < new_tokens and (best := int(logits.argmax())) not in ends:
            answer.append(best)
            if len(answer) < new_tokens:
                logits = self._decode([best])
        return first, answer

    def _decode(self, ids: Sequence[int]) -> np.ndarray:
        tokens = (self.llama.llama_token * len(ids))(*ids)
        code = self.llama.llama_decode(self.context, self.llama.llama_batch_get_one(tokens, len(ids)))
        if code:
            raise RuntimeError(f"llama_decode gave {code}")
        row = self.llama.llama_get_logits_ith(self.context, -1)
        return np.ctypeslib.as_array(row, (self.width,)).copy()


def _there(made: Any, what: str) -> Any:
    if not made:
        raise RuntimeError(f"llama.cpp could not open {what}")
    return made


def main() -> None:
    request = json.load(sys.stdin)
    llama = library(request["library"])
    if request["task"] == "quantize":
        answer = quantize(llama, request["source"], request["target"], request["quantization"])
    else:
        answer = evaluate(llama, request)
    Path(request["reply"]).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main()

"""What an Ollama server answers when something is wrong, from its source and documentation."""

import json
from typing import Any

OVERFLOW = {
    "code": 400,
    "message": "request (602 tokens) exceeds the available context size (256 tokens), try increasing it",
    "type": "exceed_context_size_error",
    "n_prompt_tokens": 602,
    "n_ctx": 256,
}
LONGER = "the prompt is longer than the context length currently available to the model"
REFUSAL = "Je suis désolé, mais je ne peux pas répondre à cette demande."
# Scripted answers to one question: (HTTP status, body) or changes to the answer that would have been given.
FAULTS: dict[str, Any] = {
    "404": (404, {"error": "model 'llama3.1:8b' not found"}),
    "400": (400, {"error": "invalid JSON schema in format"}),
    "overflow": (400, {"error": LONGER}),
    "overflow object": (400, {"error": json.dumps({"error": OVERFLOW})}),
    "503": (503, {"error": "server busy, please try again.  maximum pending requests exceeded"}),
    "500": (500, {"error": "model runner has unexpectedly stopped, this may be due to resource limitations"}),
    "499": (499, {"error": "request canceled"}),
    "html": (200, "<html>proxy</html>"),
    "error with 200": (200, {"error": "unexpected EOF"}),
    "not done": {"done": False, "done_reason": None},
    "done missing": {"done": None},
    "length": {"done_reason": "length", "content": '{\n\n    "lab'},
    "load": {"done_reason": "load", "content": ""},
    "empty": {"content": "  "},
    "broken json": {"content": '{"label": "a"'},
    "nan": {"content": '{"label": NaN}'},
    "half a surrogate": {"content": '{"label": "\\ud83d"}'},
    "deep": {"content": "[" * 100_000, "eval_count": 1000},
    "refusal": {"content": REFUSAL},
    "english refusal": {"content": "I'm sorry, but I can't help with that."},
    "wrong type": {"content": '{"label": 7, "unasked": true}'},
    "context shifted": {"prompt_eval_count": 8000, "eval_count": 193},
}

"""A judge behind an endpoint that speaks OpenAI's API: vLLM, llama-server, LM Studio, or a hosted one."""

import json
import os
from typing import Any

import httpx

from affinage.answer_cache import AnswerCache
from affinage.errors import AffinageError, Problem
from affinage.ollama_chat import JSON, Chat, Options
from affinage.ollama_models import Model
from affinage.ollama_replies import Reply, Status, read_http


class OpenAIChat(Chat):
    """`Chat` with POST <url>/v1/chat/completions in the place of Ollama's own calls; the same questions and statuses.

    The key comes from the environment variable that `api_key_env` names. Such a server chooses its context itself, so
    num_ctx only bounds what `Chat` accepts, and it gives no digest: the cache knows the model by url and name.
    """

    def __init__(
        self,
        url: str,
        model: str,
        options: Options | None = None,
        *,
        api_key_env: str = "",
        think: bool | str = False,
        cache: AnswerCache | None = None,
        timeout_s: float = 600.0,
        backoff_s: float = 1.0,
    ) -> None:
        super().__init__(url, model, options, think=think, cache=cache, timeout_s=timeout_s, backoff_s=backoff_s)
        self._path = "/chat/completions" if self.server.url.endswith("/v1") else "/v1/chat/completions"
        self._http.headers.pop("authorization", None)  # a key for Ollama is not for this server
        if api_key_env:
            if not (key := os.environ.get(api_key_env, "")):
                raise AffinageError(Problem(api_key_env, "is not set, and the suite takes the judge's key from it."))
            self._http.headers["authorization"] = f"Bearer {key}"

    def preflight(self, pull: bool = False) -> Model:
        """Asks for the list of models. Raises AffinageError when no server answers or it refuses the key."""
        where = self.server.url
        try:
            answer = self._http.get(self._path.replace("chat/completions", "models"))
        except httpx.HTTPError as error:
            remedy = "Start it, or correct judge.endpoint.url in the suite."
            found = f"no server answers there: {type(error).__name__}."
            raise AffinageError(Problem(where, found, remedy=remedy)) from error
        if answer.status_code in (401, 403):
            remedy = "Set the variable that judge.endpoint.api_key_env names to a valid key."
            raise AffinageError(Problem(where, f"refuses the key (HTTP {answer.status_code}).", remedy=remedy))
        known = _names(answer)
        if known and self.name not in known:
            raise AffinageError(Problem(f"model {self.name}", f"is not at {where}.", ", ".join(sorted(known)[:20])))
        self.model = Model(self.name, "", 0, "", "", (), "")
        return self.model

    def close(self) -> None:
        """Ends waiting retries; there is nothing to free."""
        self.model = None
        super().close()

    def _question(self, messages: Any, schema: Any, options: Options) -> dict[str, Any]:
        return super()._question(messages, schema, options) | {"endpoint": f"{self.server.url}{self._path}"}

    def _post(self, body: dict[str, Any], timeout_s: float | None = None) -> dict[str, Any] | Reply:
        content = json.dumps(_translated(body), ensure_ascii=True)
        if self._http.is_closed:
            return Reply(Status.UNREACHABLE, detail="the client is closed")
        try:
            answer = self._http.post(self._path, content=content, headers=JSON)
        except (httpx.ReadTimeout, httpx.WriteTimeout) as error:
            return Reply(Status.TIMEOUT, detail=f"no answer in time ({type(error).__name__})")
        except httpx.HTTPError as error:
            return Reply(Status.UNREACHABLE, detail=f"{type(error).__name__}: {error}")
        read = read_http(answer.status_code, answer.content)
        return read if isinstance(read, Reply) else _as_ollama(read)


def _names(answer: httpx.Response) -> set[str]:
    """The models that a server lists; none where it does not list them."""
    try:
        return {str(model["id"]) for model in answer.json()["data"]} if answer.status_code == 200 else set()
    except (ValueError, KeyError, TypeError):
        return set()


def _translated(body: dict[str, Any]) -> dict[str, Any]:
    """An Ollama request as one to /v1/chat/completions; what only Ollama knows is left out."""
    options = body["options"]
    asked = {"model": body["model"], "messages": body["messages"], "stream": False, "seed": options["seed"]}
    asked |= {"temperature": options["temperature"], "top_p": options["top_p"], "max_tokens": options["num_predict"]}
    if "format" in body:
        schema = {"name": "verdict", "schema": body["format"], "strict": True}
        asked["response_format"] = {"type": "json_schema", "json_schema": schema}
    return asked


def _as_ollama(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer in the shape of Ollama's; one without a choice counts as not done."""
    choices = answer.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    usage = answer.get("usage") if isinstance(answer.get("usage"), dict) else {}
    reason = choice.get("finish_reason")
    return {
        "message": choice.get("message"),
        "done": reason is not None,
        "done_reason": reason,
        "prompt_eval_count": (usage or {}).get("prompt_tokens"),
        "eval_count": (usage or {}).get("completion_tokens"),
    }

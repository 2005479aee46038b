"""Models that converse: a run's base and tuned sides, an Ollama model, an endpoint that speaks OpenAI's API."""

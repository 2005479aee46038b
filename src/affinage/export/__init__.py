"""A run in other forms: merged weights, GGUF files and Ollama models, each compared with what was trained."""

"""Questions on documents and summaries of them: read, cut into passages, search, answer with sources."""

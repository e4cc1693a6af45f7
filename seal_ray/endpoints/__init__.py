"""OpenAI-compatible servers, asked patiently."""

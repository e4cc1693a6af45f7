"""Clients of OpenAI-compatible servers, which wait patiently while one is away."""

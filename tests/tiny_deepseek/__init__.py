"""A tiny random-weight model of DeepSeek-V2's own architecture, for tests that serve it with the real vLLM."""

"""A tiny random-weight model of DeepSeek-V2's own architecture: the demo and tests serve it with the real vLLM."""

"""LoRA training of a causal language model on prepared rows, in a process of an engine slot."""

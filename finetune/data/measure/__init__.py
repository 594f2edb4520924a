"""How much the desensitizer finds and how much it takes wrongly, on labelled files that are made here from a seed.

The values follow what providers and standards publish of their formats; they were written without the desensitizer's
rules at hand and must stay so: never copy a rule's pattern into here, and never fit a rule to a template of these.
"""

"""Usage records and their journal: what a request consumed, on disk before anyone is told it ended."""

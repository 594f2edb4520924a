"""Batches: files of requests that are worked on with what capacity is left, and the files of answers that come of them."""

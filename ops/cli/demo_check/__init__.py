"""`coderack demo-check`: looks for the evidence of each of the demo's steps in the database and in the files.

It shares no code with the demo and uses no model classes: plain SQL, plain files, and a list of its own of what was planted.
"""

"""`coderack demo`: walks through what the appliance can do, as two tenants of its own, and measures each step.

The tenants speak to it with the official openai client; operators use the command line. A second program
(`coderack demo-check`) then looks for the evidence of each step in the database and in the files, so that a walk can't pass
by saying so.
"""

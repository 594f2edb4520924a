"""Under which licence a source file is: what its own head says, else the nearest licence file above it. SPDX ids throughout.

A reading of marks, not legal advice: a licence that is only told in words of somebody's own is not found.
"""

"""The checks an adapter passes before it is used. The control plane's side has no torch; `scoring` runs in the slot."""

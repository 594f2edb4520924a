"""The control plane's figures for Prometheus: one registry for each process, one page for each registry."""

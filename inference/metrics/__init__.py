"""How a process shows its Prometheus figures: a page on a Unix socket of its own, which the gateway hands on."""

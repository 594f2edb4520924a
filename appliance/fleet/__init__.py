"""Deployments, replicas, engine lives, devices and samples: what should run and what does."""

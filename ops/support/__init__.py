"""Support bundles: what a person who helps needs to see, without secrets."""

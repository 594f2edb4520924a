"""A base model and an adapter made into one model, for engines that can't apply the adapter."""

"""The data plane: one origin for everything, engines behind it, every token metered."""

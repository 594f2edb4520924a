"""Engine slots: Python environments with one vLLM release each, installed from a lock file and told apart by digest."""

"""PostgreSQL and Redis from pip wheels, run as processes of their own, for trying out and tests."""

"""Fixtures for the whole suite. The parts that need a running appliance share one, see tests/system/conftest.py."""

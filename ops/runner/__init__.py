"""Runs the appliance's processes and restarts what dies. Generic: knows no process by name."""

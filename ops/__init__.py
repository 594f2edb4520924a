"""Operating the appliance: set-up, processes, upgrades; the CLI lives in ops.cli."""

"""What operators do to the appliance itself: upgrades and acceptance runs, as rows."""

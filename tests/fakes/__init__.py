"""Stand-ins that speak the real protocols, for faults and speeds that the real parts don't offer on demand."""

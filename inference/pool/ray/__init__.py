"""Engines on other machines, through a Ray cluster that is there already.

Ray only finds the machines, keeps books on their devices and runs one small actor for each engine (`hand`). What stands
where: `launcher` starts a `tether`, a process of this machine that the pool watches as if it were the engine; it has
`driver`, the only process of ours that imports Ray, place a hand on the other machine, whose `node` process runs the
engine; tether and node then speak with each other directly, over mutual TLS. `probe` and `reading` bring the machines'
devices. Nothing but `driver` and `hand` needs Ray, and nothing here is imported while the launcher is `local`.
"""

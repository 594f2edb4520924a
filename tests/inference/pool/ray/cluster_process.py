"""A real Ray cluster on this machine, each node with a raylet of its own: `add NAME` and `kill NAME` on its input.

A process of its own, so that no test imports Ray. It ends, and the cluster with it, when its input does.
"""

import os
import sys
import time

os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DISABLE_MEMORY_MONITOR": "1", "RAY_memory_monitor_refresh_ms": "0"}
ANSWERS = os.dup(1)
os.dup2(2, 1)

from ray._private import services  # noqa: E402
from ray.cluster_utils import Cluster  # noqa: E402

LOOPBACK = "127.0.0.2"  # Ray takes 127.0.0.1 for the outward address
STORE_BYTES = 80 * 2**20
START_S = 240  # Ray itself gives a node up after 30 s, which a busy machine needs


def patient(get_node):
    """The same question, asked until there is an answer."""

    def ask(*arguments):
        deadline = time.monotonic() + START_S
        while True:
            try:
                return get_node(*arguments)
            except RuntimeError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    return ask


def main():
    services.get_node = patient(services.get_node)
    cluster = Cluster()
    nodes = {}

    def add(name):
        more = {} if nodes else {"include_dashboard": False}
        nodes[name] = cluster.add_node(
            wait=True, num_cpus=2, object_store_memory=STORE_BYTES, node_ip_address=LOOPBACK, node_name=name, **more
        )

    try:
        for line in sys.stdin:
            verb, name = line.split()
            if verb == "add":
                add(name)
            else:
                cluster.remove_node(nodes.pop(name), allow_graceful=False)
            os.write(ANSWERS, f"{cluster.address}\n".encode())
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    main()

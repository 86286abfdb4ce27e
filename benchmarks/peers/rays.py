"""How the peers of Ray begin: one node on the loopback, and nothing else."""

import contextlib
import os
import tempfile

# All on 127.0.0.1: without this it takes the machine's outer address, and
# listens on all. Its name is of where that is so by itself.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
# It reports its use to its makers unless it is told not to.
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
# Where its workers find what is here.
os.environ["PYTHONPATH"] = os.path.dirname(os.path.abspath(__file__))

import ray


@contextlib.contextmanager
def node():
    """A node of its own, with its files, until the end of the block."""
    with tempfile.TemporaryDirectory(prefix="ray") as folder:
        ray.init(
            address="local",
            include_dashboard=False,
            num_cpus=2,
            log_to_driver=False,
            logging_level="ERROR",
            object_store_memory=100 * 2**20,
            _temp_dir=folder,
        )
        try:
            yield
        finally:
            ray.shutdown()

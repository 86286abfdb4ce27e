"""A module whose import does not end, for a fork server to preload."""

import time

time.sleep(1000)

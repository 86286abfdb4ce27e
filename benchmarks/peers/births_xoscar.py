"""The actor of the peer xoscar in births.py."""

import xoscar


class Adder(xoscar.StatelessActor):
    """Answers a sum."""

    def add(self, a, b):
        """The sum."""
        return a + b

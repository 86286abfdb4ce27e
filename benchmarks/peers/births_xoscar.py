"""The actors of the peer xoscar in births.py and ends_xoscar.py."""

import asyncio
import os

import xoscar


class Adder(xoscar.StatelessActor):
    """Answers a sum."""

    def add(self, a, b):
        """The sum."""
        return a + b


class Waiter(xoscar.StatelessActor):
    """Works without end."""

    async def work(self):
        """An ask that ends with its process only."""
        await asyncio.sleep(3600)

    def pid(self):
        """The process it is in."""
        return os.getpid()

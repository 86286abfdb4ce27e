"""What is asked of new processes: alone, as each of them imports it."""


def add(a, b):
    """The sum."""
    return a + b

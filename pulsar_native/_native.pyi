"""The typed face of the C core."""

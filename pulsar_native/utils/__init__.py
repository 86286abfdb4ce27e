"""Helpers, under the names that programs written for pulsar use."""

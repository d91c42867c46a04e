"""The deterministic simulation of the whole server."""

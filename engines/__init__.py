"""Engines run an exported graph; they know nothing of the agent, of devices, or of how the graph was made."""

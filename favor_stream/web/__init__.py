"""The agent as a page in a browser and as an HTTP interface for programs. It knows the agent and no model."""

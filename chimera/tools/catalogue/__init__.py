"""Real tool servers that can be registered by name: at which version, where listed, and how far they were tried."""

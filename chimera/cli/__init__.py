"""The command line: thin commands over the swarm and its records."""

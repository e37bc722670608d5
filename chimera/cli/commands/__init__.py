"""The commands, one module per group. Each parses, calls a service and shows; what is dear to import loads inside."""

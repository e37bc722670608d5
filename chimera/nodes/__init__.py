"""The steps of the graphs: one asynchronous step per file, with the services of the runtime context."""

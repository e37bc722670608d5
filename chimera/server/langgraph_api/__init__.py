"""The calls that LangGraph's SDK, ``RemoteGraph`` and inboxes make, answered by Chimera's own services."""

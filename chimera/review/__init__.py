"""Questions to humans: the items, the queue, and who answers."""

"""What payments cost: reserving, beside the ways that are usual."""

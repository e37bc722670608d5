"""What payments cost: reserving and paying, beside the ways that are usual, and while everything fails."""

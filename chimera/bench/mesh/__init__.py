"""``chimera bench mesh``: what a tool call costs through the mesh, and what is lost while servers fail."""

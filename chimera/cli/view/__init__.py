"""What the terminal shows: text made safe, tables and trees, live progress, results."""

"""What an evaluation of missions found, for machines and for people: figures, a table, a page."""

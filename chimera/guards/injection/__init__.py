"""The injection filter: how much a text looks like an attempt to redirect its reader. It marks; it controls nothing."""

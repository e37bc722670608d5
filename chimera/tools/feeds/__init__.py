"""Feeds of timestamped posts: read from a file or URL as they are found, and analysed for what is rising."""

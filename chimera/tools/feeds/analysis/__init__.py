"""What a feed is about and what is rising in it: counts of terms in the newest window against the windows before it."""

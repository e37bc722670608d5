"""Questions and answers in the formats of other people's inboxes."""

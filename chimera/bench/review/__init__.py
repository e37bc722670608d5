"""``chimera bench review``: what a certificate is worth, and how the queue holds out."""

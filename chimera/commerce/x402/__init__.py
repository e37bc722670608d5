"""Buying and selling over HTTP 402: offers, signed authorisations, goods, and what is done when an answer is lost."""

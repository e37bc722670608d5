"""``chimera eval discovery``: how well tools are found, on sets of requests with the tools that answer them."""

"""The model used when none is configured: deterministic rules behind LangChain's chat model interface.

It plans by matching the words of a goal against the descriptions and schemas of the tools at hand, extracts instead of
writing, and says in every result that it is rules.
"""

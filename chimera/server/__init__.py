"""What others reach over the network: the graphs behind the LangGraph server API."""

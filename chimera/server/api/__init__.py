"""The REST interface: missions, questions and tools for programs, by an OpenAPI document that holds exactly."""

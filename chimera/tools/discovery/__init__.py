"""Finding tools by meaning: an index over what servers say of their tools, ranked without a model, or with one."""

"""The files in which others write down tool servers, read into entries of the registry."""

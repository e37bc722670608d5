"""The pages: what people see of the fleet in a browser, and where they decide."""

"""Permissions: who may do what, as Cedar policies that are compiled to a table. What no policy permits is denied."""

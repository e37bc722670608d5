"""The security policy: a reviewed file that says which guards stand at which edge."""

"""What a confidence is worth: features, a model of them, certificates for bands, blind audits, and the alarm."""

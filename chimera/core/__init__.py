"""The contracts that every layer may know: values, ids, time, money, errors, settings."""

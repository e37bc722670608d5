"""Payments outside of chains, through tool servers of payment services, in test mode alone: no real money moves."""

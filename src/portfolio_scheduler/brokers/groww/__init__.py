"""Groww Trade API: logins, reads, parsing."""

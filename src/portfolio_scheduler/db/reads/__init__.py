"""What people ask of the ledger: read-only queries, each a fixed number of statements however many accounts.

They take the accounts to read as a list of ids and answer frozen records; who may see which account is the caller's
and the database's business.
"""

"""The exchange: its calendar and its prices."""

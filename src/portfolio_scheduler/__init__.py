"""A self-hosted service that reads broker accounts every trading day and keeps what it read for ever."""

__version__ = "0.1.0"

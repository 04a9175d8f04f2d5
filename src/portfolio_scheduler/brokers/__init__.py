"""The outside world of brokers. Reads only."""

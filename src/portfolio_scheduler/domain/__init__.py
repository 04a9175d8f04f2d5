"""What we mean: records, pure functions. Python and msgspec only; no await, no clock."""

"""The story of a sync."""

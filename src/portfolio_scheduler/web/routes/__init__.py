"""The JSON API, a module per subject."""

"""Proofs that are generated from the OpenAPI document: a new operation is in them without anybody adding it."""

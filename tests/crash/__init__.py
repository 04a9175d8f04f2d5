"""Processes die, databases stop and connections break while syncs run: nothing is lost, nothing is written twice."""

"""Hundreds of jobs and many machines: a table of jobs, a manifest of what became of them, and what runs them.

``jobs`` and ``manifest`` need the standard library only: the add-on's batch reads and writes the same files.
"""

"""Measurements, kept in `results/` with date, machine, commit and command.

`python -m benchmarks NAME [ARGUMENTS]` makes and keeps one.
"""

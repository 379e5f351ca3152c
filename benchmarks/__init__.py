"""Speed and memory: ours, D2L's own code, and the matrix products alone.

``python -m benchmarks`` (or ``make bench``) measures and writes a report. See README.md beside this
file.
"""

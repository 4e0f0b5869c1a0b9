"""How fast requests-gracedb is, next to what else there is. Run ``python -m benchmarks``."""

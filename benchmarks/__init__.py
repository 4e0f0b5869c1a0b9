"""How fast requests-gracedb is, next to what else there is: ``python -m benchmarks``.

A figure that is published is the median of three full runs on an idle machine::

    for run in 1 2 3; do python -m benchmarks --save /tmp/run$run; done
    python -m benchmarks --write /tmp/run1 /tmp/run2 /tmp/run3
"""

"""What the harness, methods and data sets share: the only part of ``bench`` that the latter two may import."""

"""A manifest of any size, done by many processes or machines: partitions in, Parquet out."""

"""Report of a model on one page: accuracy, counts, errors, training and data, every number also as JSON."""

"""Report on a model on one page: accuracy, counts, errors, training and data, with every number as JSON."""

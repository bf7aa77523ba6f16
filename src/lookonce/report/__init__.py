"""A report about a model on one page: accuracy, counts, errors, training and data, with numbers as JSON."""

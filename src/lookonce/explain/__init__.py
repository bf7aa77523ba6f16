"""The walk of one picture through one model, with every number of it."""

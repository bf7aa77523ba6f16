"""Training data: from annotated images to the batches that the network is trained on."""

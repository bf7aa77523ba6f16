"""Read and write Darknet models, `.cfg` and `.weights`, without torch."""

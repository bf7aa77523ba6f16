"""Reports as pages: one HTML file each, nothing to fetch, light and dark, from a phone to a desktop."""

"""Reports as pages: one self-contained HTML file each, in light and dark mode, for phones and desktops."""

"""Pages of reports: self-contained HTML files in light and dark mode, for phones and desktops."""

"""The report as one HTML file: legible anywhere, without scripts and without a network."""

"""The application for people without a terminal: pages in a browser, on this machine alone."""

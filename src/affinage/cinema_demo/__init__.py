"""Makes datasets/sentiment and datasets/extraction: film reviews and announcements of screenings, all made up."""

"""Made-up handbooks in English and French with questions about them, to measure how well passages are found."""

"""What leaves the machine for the Hub: the folder, its card, the plan that is shown first, and the upload."""

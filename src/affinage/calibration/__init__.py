"""Whether a judge agrees with people: blind sheets to score answers on, and the agreement of the scores."""

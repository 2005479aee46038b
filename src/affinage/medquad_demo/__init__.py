"""A made-up sample in MedQuAD's XML form: common conditions in general terms, written for this project. No advice."""

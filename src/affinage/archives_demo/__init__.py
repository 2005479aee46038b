"""A made-up mailbox of an archives' reading room, as raw material for the steps that a language model performs."""

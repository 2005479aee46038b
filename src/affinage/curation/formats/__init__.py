"""One module per family of files: each turns a file into records, or a record into rows."""

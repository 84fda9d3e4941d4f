"""What a user asks for, as functions: the command line and the server parse, call one of these, and print."""

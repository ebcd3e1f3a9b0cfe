"""The variables and the token of Ray's processes. Imports no ray: the command line reads it too."""

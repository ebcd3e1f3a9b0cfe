"""The environment variables and the token of Ray's processes. Imports no ray: the command line uses it too."""

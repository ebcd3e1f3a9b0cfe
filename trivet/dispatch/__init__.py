"""Between HTTP and the models: the dispatcher protocol, and what wraps every call. Knows no HTTP and no Ray."""

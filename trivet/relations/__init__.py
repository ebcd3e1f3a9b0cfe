"""Relations between texts: chunks, edges, and the calls that find them. Knows no HTTP."""

"""One service on this machine as the operating system sees it: its folder, ports, record and processes.

Imports no ray: the command line uses this package before it starts a cluster, and when a cluster is lost.
"""

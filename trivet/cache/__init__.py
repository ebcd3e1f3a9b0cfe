"""Caches results of single inputs, in memory and on disk. Knows no HTTP and no models.

`keys` hashes an input, `adapters` split requests and join results, `entry` is the cached result of one input,
`memory` and `disk` store entries, `disk_worker` keeps disk work off the event loop, and `store` combines both.
`trivet.dispatch.caching` is the dispatcher that uses them.
"""

"""Results of single inputs, kept by what they were computed from, in memory and on disk. Knows no HTTP and no models.

`keys` names an input, `adapters` take requests and results apart and together, `entry` is what is kept of one input,
`memory` and `disk` keep it, `disk_worker` keeps disk work off the event loop, and `store` is both as one.
`trivet.dispatch.caching` is the dispatcher that uses them.
"""

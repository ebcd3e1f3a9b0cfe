"""Results of single inputs, kept by what they were computed from, in memory and on disk. Knows no HTTP and no models.

`keys` names an input, `parts` takes requests and results apart and together, `entry` is what is kept of one input,
`memory` and `disk` keep it, `shelf` keeps disk work off the event loop, `results` is both stores as one, and `flights`
are the calls in progress that others may join. `trivet.dispatch.caching` is the dispatcher that uses them.
"""

"""Which checkpoints the modules of `trivet.engine.models.flat` compute, and with which sizes and formulas.

`Architecture` of `trivet.checkpoint.architecture` states facts about any model. This package is strict instead: fields
keep transformers' names and defaults, since a published config.json leaves out what equals a default, and every field
that would choose another formula than the one implemented is checked. What is not implemented is refused with a reason,
and its caller keeps the path through transformers.

`model` puts the description of a checkpoint together: `encoders` and `decoders` describe the body, `heads` what follows
it. The families of `encoders` are in `bert`, `modernbert` and `rotary_encoder`; `rotary`, `feed_forward` and `fields`
are the parts that several of them share.
"""

"""From a trained model to the one that is deployed.

`compress.chain` runs a recipe (`compress.recipe`): a teacher, then steps (`compress.steps`) that
distill it, take parts out and round weights. After each its bundle is held against the teacher
(`compress.gates`). All train on one transfer set (`compress.transfer`) with one loop
(`compress.retraining`); `compress.stored` writes files that hold weights in few bits. At the end
`compress.twins` makes what the result is compared with, and `compress.report` measures all. This
room may import `models` and nothing else of ours: it meets `stream` only in the model bundle.
"""

"""From a trained model to the one that is deployed. Nothing is built here yet.

What belongs here: the recipe (a TOML file that names steps in order), the steps
(distillation, structured and magnitude pruning, quantization, clustering), the
gate that every step must pass (recall of each class, calibration and agreement
with the teacher), the report of bytes, latency and loss, and the refresh of a
deployed model. It may import `models` and nothing else of ours: it meets
`stream` only in the model bundle.
"""

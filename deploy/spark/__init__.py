"""Apache Spark: the same classifier over archives, streams and Fink's tables.

`deploy.spark.frames` is what a Spark program calls, `deploy.spark.worker` what
then runs in Spark's Python workers, `deploy.spark.fink` a science module with
Fink's calling convention, `deploy.spark.job` a program for ``spark-submit``.
"""

"""The live page: what the service does now, for the person on shift.

``/``                    the page; its files are below ``/page``
``/api/status``          state, rates of the last hour, counts of tonight, the model
``/api/alerts``          the latest alerts, by class, probability and outcome
``/api/alerts/{key}``    one of them with its light curve

Everything is read; nothing that comes in changes what the service does.
"""

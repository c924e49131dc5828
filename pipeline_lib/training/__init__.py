"""How a network learns: the loop and what it is put together from.

Imports nothing, so that prediction does not pay for torchmetrics.
"""

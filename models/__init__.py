"""What a light curve is, how it becomes tensors, and what classifies it."""

"""The loop, the loss, the batches, the learning rates, resume."""

"""The drawn sample: what its scenes are, how they are drawn, and what people would write about them."""

"""Image-text retrieval with a dual encoder: data, towers, training, evaluation and search."""

"""The image towers, the text towers, and where their pretrained weights come from."""

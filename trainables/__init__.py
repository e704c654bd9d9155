"""One training run: data in, model and figures out."""

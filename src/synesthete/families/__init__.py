"""One file a model family; a preset's `family = "vae"` names the file."""

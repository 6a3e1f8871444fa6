"""From bytes to an alignment: sources, audio, images, and the graph between them."""

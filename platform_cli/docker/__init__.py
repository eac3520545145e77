"""What runs in containers: the engine, and the images."""

"""From the raw tables to a training snapshot."""

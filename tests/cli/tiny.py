"""Options of a training that takes seconds."""

TINY = ["--training.steps", "4", "--training.batch_size", "4", "--encoder.image_size", "64", "--data.workers", "0"]

"""Fine-tuning on private code: data, training, evaluation. Knows nothing of Django or of serving."""

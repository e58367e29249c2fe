"""From networks to a served model: repository, Triton's life, smoke inference."""

"""Model versions and engine slots that were verified and may serve."""

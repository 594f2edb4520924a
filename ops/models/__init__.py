"""Model directories: what may lie in one, the manifest that makes it complete, and the demo model's own making."""

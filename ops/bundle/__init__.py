"""Signed offline bundles: a TUF repository on a disk, built where the keys are and verified where the model goes."""

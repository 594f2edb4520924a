"""The control API's error table and its versions."""

"""The first version of the tenant API: one module for each resource."""

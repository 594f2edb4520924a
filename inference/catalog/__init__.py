"""The models the appliance knows: architecture, context, formats, licence and engine flags, one YAML file each."""

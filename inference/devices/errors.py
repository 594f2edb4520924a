"""What can go wrong when devices are looked for."""


class DeviceError(Exception):
    """Base of this package's errors."""

    code = "device_error"
    permanent = False


class UnknownDeviceKind(DeviceError):
    """The configuration names a device kind that no module here implements."""

    code = "unknown_device_kind"
    permanent = True


class ToolFailed(DeviceError):
    """A vendor's command hung, ended with an error or said what nobody can read."""

    code = "device_tool_failed"

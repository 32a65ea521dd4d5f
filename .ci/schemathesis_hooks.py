"""How .ci/openapi sends bodies of types that schemathesis does not know."""

import schemathesis


@schemathesis.serializer("image/x-portable-bitmap")
def image(_context, value):
    """The bytes of an image: whatever was made up, as it is."""
    if isinstance(value, bytes):
        return value
    data = getattr(value, "data", value)
    return data if isinstance(data, bytes) else str(data).encode(errors="replace")

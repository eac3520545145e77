"""Which requests a canary gets."""

from hashlib import blake2b

_POINTS = 1 << 64


def in_share(model: str, version: int, key: str, share: float) -> bool:
    """Whether a request with this key belongs to the canary `version`, which gets `share` (0 to 1) of all keys.

    The same key gets the same answer for as long as the version and its share stay, and goes on belonging when the
    share grows. Other versions draw other keys, so that not always the same callers are the first.
    """
    drawn = blake2b(f"{model}\0{version}\0{key}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(drawn) < share * _POINTS

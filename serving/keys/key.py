"""What a key is: a name, what it allows, how often, and the hash of a secret that only its holder has."""

import hashlib
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from serving.http.wire import Caller

Scope = Literal["predict", "feedback", "metrics", "admin"]
SCOPES: tuple[str, ...] = get_args(Scope)
MAX_RATE = 1_000_000.0

_NAME_PATTERN = "[a-z0-9][a-z0-9-]{0,39}"
_NAME_RULE = "1 to 40 lower-case letters, digits and hyphens, the first not a hyphen"
_DIGEST_PATTERN = "[0-9a-f]{64}"


@dataclass(frozen=True, slots=True)
class Key:
    """A key as the server knows it."""

    name: str
    scopes: frozenset[str]
    digest: str = field(repr=False)
    """SHA-256 of the key, in hex. A hash for passwords, slow and salted, would add nothing: keys are at least 192
    random bits, so no list of likely ones can be tried."""
    rate: float | None = None
    """Requests a second; None: as many as come."""
    created: datetime | None = None
    """None for a key that came with the settings."""
    caller: Caller = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "caller", Caller(self.name, self.scopes))

    @property
    def builtin(self) -> bool:
        """Whether it came with the settings, and so can be neither made nor revoked here."""
        return self.created is None

    def describe(self) -> dict[str, object]:
        """Return what may be told about it."""
        return {
            "name": self.name,
            "scopes": sorted(self.scopes, key=SCOPES.index),
            "rate": self.rate,
            "created": self.created.isoformat() if self.created else None,
            "builtin": self.builtin,
        }


def _name(text: str) -> str:
    if not is_name(text):
        raise ValueError(f"expected {_NAME_RULE}")
    return text


class NewKey(BaseModel):
    """A key to be made."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: Annotated[str, AfterValidator(_name)] = Field(
        description=f"Who will hold it: {_NAME_RULE}.", json_schema_extra={"pattern": f"^{_NAME_PATTERN}$"}
    )
    scopes: list[Scope] = Field(min_length=1, description="What it allows.")
    rate: float | None = Field(
        None, gt=0, le=MAX_RATE, allow_inf_nan=False, description="Requests a second; null: no limit."
    )


class StoredKey(NewKey):
    """A key as the file of keys has it."""

    sha256: Annotated[str, StringConstraints(pattern=f"^{_DIGEST_PATTERN}$")]
    created: AwareDatetime

    @classmethod
    def of(cls, key: Key) -> "StoredKey":
        """Return `key` as it is stored."""
        return cls.model_validate(
            {"name": key.name, "scopes": sorted(key.scopes), "rate": key.rate}
            | {"sha256": key.digest, "created": key.created}
        )

    def key(self) -> Key:
        """Return the key."""
        return Key(self.name, frozenset(self.scopes), self.sha256, self.rate, self.created.astimezone(UTC))


def digest_of(secret: bytes) -> str:
    """Return the hash by which a key is known."""
    return hashlib.sha256(secret).hexdigest()


def is_name(text: str) -> bool:
    """Tell whether a key may have this name."""
    return re.fullmatch(_NAME_PATTERN, text) is not None


def is_digest(text: str) -> bool:
    """Tell whether this is a SHA-256 in hex."""
    return re.fullmatch(_DIGEST_PATTERN, text) is not None

"""Whether a version can take another's place without refusing what that one accepts."""

from collections.abc import Mapping

from contract import SIGNATURE_CHANGE_TAG
from serving.errors import VersionRefused
from serving.models.model import ServedModel
from serving.models.signature import Field

ALLOWED = "allowed"
_WIDER = {
    "integer": frozenset({"long", "float", "double"}),
    "long": frozenset({"float", "double"}),
    "float": frozenset({"double"}),
}
"""For each type the others that accept all of its values."""


def refuse_other_signature(champion: ServedModel, model: ServedModel, tags: Mapping[str, str]) -> None:
    """Pass if `model` accepts every record that `champion` accepts, or its `tags` allow that it does not.

    Raises:
        VersionRefused: neither is so; the message names the fields.
    """
    if tags.get(SIGNATURE_CHANGE_TAG) == ALLOWED:
        return
    differences = _differences(champion, model)
    if differences:
        raise VersionRefused(
            f"it does not accept every record that version {champion.version}, the champion, accepts: "
            f"{'; '.join(differences)}. If callers are ready for that, set its tag {SIGNATURE_CHANGE_TAG} to {ALLOWED}"
        )


def _differences(old: ServedModel, new: ServedModel) -> list[str]:
    before = {field.name: field for field in old.signature.fields}
    after = {field.name: field for field in new.signature.fields}
    gone = [name for name in before if name not in after]
    needed = [name for name in after if name not in before and after[name].required]
    found = [f"{kind}: {', '.join(names)}" for kind, names in (("gone", gone), ("new and required", needed)) if names]
    found += [_difference(before[name], after[name]) for name in before if name in after]
    key = old.entity_key
    if key is not None and key not in before and key != new.entity_key and key not in after:
        found.append(f"the entity key {key} is not known to it")
    return [difference for difference in found if difference]


def _difference(old: Field, new: Field) -> str:
    if new.type != old.type and new.type not in _WIDER.get(old.type, ()):
        return f"{old.name} was {old.type} and is {new.type}"
    if new.required and not old.required:
        return f"{old.name} was optional and is required"
    return ""

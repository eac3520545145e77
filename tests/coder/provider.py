"""A stand-in for a Terraform provider: it knows the names and types of the real one (provider-schemas.json) and a few
of its values, plans as a provider does, and does nothing. What only the real provider checks stays unchecked.

Started by Terraform, with PROVIDER naming which one, and STAND_IN_DATA holding values of data sources as JSON:
`{"coder_workspace": {"start_count": 0}, "coder_parameter": {"image": "mine:1"}}`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import tf.provider
from tf import runner
from tf.gen import tfplugin_pb2 as pb
from tf.gen import tfplugin_pb2_grpc as rpc
from tf.types import Unknown
from tf.utils import read_dynamic_value, to_dynamic_value

SCHEMA = json.loads(Path(__file__).with_name("provider-schemas.json").read_text())[os.environ["PROVIDER"]]
DATA = json.loads(os.environ.get("STAND_IN_DATA", "{}"))
NESTING = {
    "single": pb.Schema.NestedBlock.SINGLE,
    "list": pb.Schema.NestedBlock.LIST,
    "set": pb.Schema.NestedBlock.SET,
}
ALLOWED = {
    ("coder_app", "share"): {"owner", "authenticated", "organization", "public"},
    ("coder_app", "open_in"): {"tab", "slim-window"},
    ("coder_agent", "arch"): {"amd64", "armv7", "arm64"},
    ("coder_agent", "os"): {"linux", "darwin", "windows"},
    ("coder_parameter", "type"): {"string", "number", "bool", "list(string)"},
}


def schema_of(block: dict[str, Any]) -> pb.Schema:
    return pb.Schema(version=0, block=block_of(block))


def block_of(block: dict[str, Any]) -> pb.Schema.Block:
    attributes = [
        pb.Schema.Attribute(
            name=name,
            type=json.dumps(attribute["type"]).encode(),
            required=attribute["required"],
            optional=attribute["optional"],
            computed=attribute["computed"],
            sensitive=attribute.get("sensitive", False),
        )
        for name, attribute in block["attributes"].items()
    ]
    nested = [
        pb.Schema.NestedBlock(
            type_name=name,
            block=block_of(inner["block"]),
            nesting=NESTING[inner["nesting"]],
            min_items=inner["min"],
            max_items=inner["max"],
        )
        for name, inner in block["block_types"].items()
    ]
    return pb.Schema.Block(attributes=attributes, block_types=nested)


def made_up(type_name: str, name: str, type_: Any) -> Any:
    """A value that the real provider would compute."""
    if isinstance(type_, str):
        return {"string": f"{type_name}-{name}", "number": 1, "bool": False}[type_]
    return [] if type_[0] in ("list", "set") else {}


def wrong_values(type_name: str, config: dict[str, Any]) -> list[pb.Diagnostic]:
    found = []
    for (wanted, name), allowed in ALLOWED.items():
        value = config.get(name) if wanted == type_name else None
        if isinstance(value, str) and value not in allowed:
            summary = f"{type_name}.{name}: {value!r} is not one of {sorted(allowed)}"
            found.append(pb.Diagnostic(severity=pb.Diagnostic.ERROR, summary=summary))
    return found


class StandIn(rpc.ProviderServicer):
    """The calls of Terraform's plugin protocol 6 that validating, planning and applying need."""

    def GetMetadata(self, request: Any, context: Any) -> Any:
        return pb.GetMetadata.Response(server_capabilities=pb.ServerCapabilities(plan_destroy=True))

    def GetProviderSchema(self, request: Any, context: Any) -> Any:
        return pb.GetProviderSchema.Response(
            provider=schema_of(SCHEMA["provider"]),
            resource_schemas={name: schema_of(block) for name, block in SCHEMA["resources"].items()},
            data_source_schemas={name: schema_of(block) for name, block in SCHEMA["data_sources"].items()},
        )

    def ValidateProviderConfig(self, request: Any, context: Any) -> Any:
        return pb.ValidateProviderConfig.Response()

    def ConfigureProvider(self, request: Any, context: Any) -> Any:
        return pb.ConfigureProvider.Response()

    def ValidateResourceConfig(self, request: Any, context: Any) -> Any:
        found = wrong_values(request.type_name, read_dynamic_value(request.config))
        return pb.ValidateResourceConfig.Response(diagnostics=found)

    def ValidateDataResourceConfig(self, request: Any, context: Any) -> Any:
        found = wrong_values(request.type_name, read_dynamic_value(request.config))
        return pb.ValidateDataResourceConfig.Response(diagnostics=found)

    def UpgradeResourceState(self, request: Any, context: Any) -> Any:
        state = to_dynamic_value(json.loads(request.raw_state.json))
        return pb.UpgradeResourceState.Response(upgraded_state=state)

    def ReadResource(self, request: Any, context: Any) -> Any:
        return pb.ReadResource.Response(new_state=request.current_state)

    def PlanResourceChange(self, request: Any, context: Any) -> Any:
        planned = read_dynamic_value(request.proposed_new_state)
        if planned is None:
            return pb.PlanResourceChange.Response(planned_state=request.proposed_new_state)
        for name, attribute in SCHEMA["resources"][request.type_name]["attributes"].items():
            if attribute["computed"] and planned.get(name) is None:
                planned[name] = Unknown
        return pb.PlanResourceChange.Response(planned_state=to_dynamic_value(planned))

    def ApplyResourceChange(self, request: Any, context: Any) -> Any:
        applied = read_dynamic_value(request.planned_state)
        if applied is None:
            return pb.ApplyResourceChange.Response(new_state=request.planned_state)
        for name, attribute in SCHEMA["resources"][request.type_name]["attributes"].items():
            if applied.get(name) is Unknown:
                applied[name] = DATA.get(request.type_name, {}).get(
                    name, made_up(request.type_name, name, attribute["type"])
                )
        return pb.ApplyResourceChange.Response(new_state=to_dynamic_value(applied))

    def ReadDataSource(self, request: Any, context: Any) -> Any:
        state = read_dynamic_value(request.config)
        given = DATA.get(request.type_name, {})
        if request.type_name == "coder_parameter":
            given = {"value": given.get(state["name"], state["default"]), "optional": True}
        for name, attribute in SCHEMA["data_sources"][request.type_name]["attributes"].items():
            if attribute["computed"] and state.get(name) is None:
                state[name] = given.get(name, made_up(request.type_name, name, attribute["type"]))
        return pb.ReadDataSource.Response(state=to_dynamic_value(state))

    def StopProvider(self, request: Any, context: Any) -> Any:
        return pb.StopProvider.Response()


if __name__ == "__main__":
    tf.provider.ProviderServicer = lambda app: StandIn()
    runner.run_provider(None)

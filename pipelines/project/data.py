"""The section `data`: where the labelled rows come from, and what their columns mean."""

from __future__ import annotations

from pydantic import Field, model_validator

from pipelines.project.types import Column, Cron, Duration, FeatureType, Section, Table


class Data(Section):
    """Where the labelled rows come from and what their columns mean."""

    connections: list[str] = Field(default_factory=list)
    schedule: Cron | None = None
    dbt_select: str | None = Field(default=None, min_length=1)
    table: Table
    entity_key: Column
    event_time: Column
    target: Column
    target_known_after: Duration = "0s"
    features: dict[Column, FeatureType] = Field(min_length=1)
    nullable: list[Column] = Field(default_factory=list)

    @model_validator(mode="after")
    def _roles_are_distinct(self) -> Data:
        roles = {"entity_key": self.entity_key, "event_time": self.event_time, "target": self.target}
        for role, column in roles.items():
            if column in self.features:
                raise ValueError(f"{column!r} is the {role}: it cannot be a feature too")
        if len(set(roles.values())) < len(roles):
            raise ValueError("entity_key, event_time and target must be three different columns")
        if unknown := [name for name in self.nullable if name not in self.features]:
            raise ValueError(f"nullable: {', '.join(unknown)} is no feature")
        return self

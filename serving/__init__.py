"""The model server: serves what MLflow's registry calls `champion`, and records every prediction."""

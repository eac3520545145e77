"""Grafana's dashboards as data: `python -m tools.dashboards` writes compose/grafana/dashboards/.

One module a dashboard; `model` says what there is to a panel, `emit` makes Grafana's JSON of it.
"""

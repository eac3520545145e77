"""One model: who answers, how well, on what data, how old."""

from tools.dashboards.model import Color, Dashboard, Kind, Panel, Query, Row, Variable

RATE = "[$__rate_interval]"
DAY = 86400


def asked(labels: str, more: str = "") -> str:
    """Prediction requests a second of the chosen model, by labels."""
    return f'sum by ({labels}) (rate(model_infer_request_duration_count{{model="$project"{more}}}{RATE}))'


def seen(figure: str, labels: str = "version, name") -> str:
    """What the monitor saw of the chosen model at its last look."""
    return f'max by ({labels}) (platform_monitoring_{figure}{{project="$project"}})'


def declared(figure: str) -> str:
    """The same, of the metric that the project declares: the one with a confidence band."""
    return f"{seen(figure)} and on (name) {seen('performance_low')}"


NOW = Row(
    "Now",
    (
        Panel(
            "Champion",
            "The version that answers.",
            "none",
            (
                Query(
                    'max by (version) (serving_model_info{model="$project", role="champion"} == 1)',
                    "version {{version}}",
                ),
            ),
            kind=Kind.STAT,
            width=4,
            names_only=True,
            alerts=("NoChampion",),
        ),
        Panel(
            "Age",
            "Days since the training of the version that was looked at last, and how old it may become.",
            "d",
            (Query(seen("age_days", "version"), "version {{version}}"), Query(seen("maximum_age_days", ""), "allowed")),
            kind=Kind.STAT,
            width=4,
            alerts=("ModelOld",),
        ),
        Panel(
            "Last new data",
            "Time since the ingestion of the project last succeeded.",
            "s",
            (Query('time() - max(airflow_last_success_timestamp_seconds{dag_id="${project}__ingest"})', "data"),),
            kind=Kind.STAT,
            width=4,
            alerts=("DagRunFailed",),
        ),
        Panel(
            "Last look",
            "Time since the monitor looked, and since the newest prediction that it saw.",
            "s",
            (
                Query('time() - max(push_time_seconds{job="monitoring", project="$project"})', "look"),
                Query(f"time() - {seen('window_end_timestamp_seconds', '')}", "newest prediction"),
            ),
            kind=Kind.STAT,
            width=4,
            steps=((2 * DAY, Color.DOUBTFUL),),
            alerts=("PushedFiguresOld",),
        ),
        Panel(
            "Drift",
            "Whether what is asked differs from what was learnt, in as many columns as the project allows at most.",
            "none",
            (Query(seen("drift", "version"), "version {{version}}"),),
            kind=Kind.STAT,
            width=4,
            words={0: ("no", Color.GOOD), 1: ("yes", Color.DOUBTFUL)},
            alerts=("DataDrift",),
        ),
        Panel(
            "Lost performance",
            "Whether it is worse than at training, beyond doubt.",
            "none",
            (Query(seen("lost_performance", "version"), "version {{version}}"),),
            kind=Kind.STAT,
            width=4,
            words={0: ("no", Color.GOOD), 1: ("yes", Color.BAD)},
            alerts=("ModelPerformance",),
        ),
    ),
)
TRAFFIC = Row(
    "Traffic by role",
    (
        Panel(
            "Requests",
            "Each second, by who answered them: the champion, a canary (it gets its share), a shadow (it sees what was "
            "answered, and nobody sees its answers).",
            "reqps",
            (Query(asked("role, version"), "{{role}} {{version}}"),),
            stacked=True,
        ),
        Panel(
            "Share of each role",
            "Of all requests for this model. Of a canary it should be the share of its step.",
            "percentunit",
            (Query(f"{asked('role')} / on () group_left () {asked('')}", "{{role}}"),),
        ),
        Panel(
            "Failed requests",
            "Share of each role's requests that the server could not answer (5xx). A canary's are answered by the "
            "champion.",
            "percentunit",
            (
                Query(
                    '(sum by (role) (rate(model_infer_request_failure_total{model="$project", status_code=~"5.."}'
                    f"{RATE})) or 0 * {asked('role')}) / {asked('role')}",
                    "{{role}}",
                ),
            ),
            steps=((0.05, Color.BAD),),
            alerts=("ModelServerErrors", "CanaryErrors"),
        ),
        Panel(
            "Time to answer",
            "Of all but a twentieth of the requests, by role and version.",
            "s",
            (
                Query(
                    "histogram_quantile(0.95, sum by (le, role, version) "
                    f'(rate(model_infer_request_duration_bucket{{model="$project"}}{RATE})))',
                    "{{role}} {{version}}",
                ),
            ),
        ),
        Panel(
            "Answers",
            "Share of each predicted class among the champion's answers. A jump without one in the inputs points to "
            "the version.",
            "percentunit",
            (
                Query(
                    f'sum by (class) (rate(serving_predictions_total{{model="$project", role="champion"}}{RATE})) '
                    f'/ on () group_left () sum(rate(serving_predictions_total{{model="$project", '
                    f'role="champion"}}{RATE}))',
                    "{{class}}",
                ),
            ),
            alerts=("AnswersNotUsable",),
        ),
        Panel(
            "Missing inputs",
            "Share of the champion's rows that lack a value: the ten features with the most.",
            "percentunit",
            (
                Query(
                    f'topk(10, sum by (feature) (rate(serving_input_missing_total{{model="$project", '
                    f'role="champion"}}{RATE}))'
                    f' / on () group_left () sum(rate(serving_rows_total{{model="$project", role="champion"}}{RATE})))',
                    "{{feature}}",
                ),
            ),
        ),
    ),
)
DRIFT = Row(
    "Drift",
    (
        Panel(
            "Columns that drifted",
            "Share of the columns beyond their thresholds, at each look.",
            "percentunit",
            (Query(seen("drift_share", "version"), "version {{version}}"),),
            alerts=("DataDrift",),
        ),
        Panel(
            "The furthest columns",
            "Distance to what was learnt, in thresholds: above 1 a column has drifted. The ten furthest.",
            "short",
            (Query(f"topk(10, {seen('feature_drift')} / {seen('feature_drift_threshold')})", "{{name}}"),),
            width=16,
            steps=((1, Color.DOUBTFUL),),
            alerts=("DataDrift",),
        ),
        Panel(
            "Columns",
            "What the last look saw of each: its distance and the threshold; the shares that are missing and that are "
            "outside of what was learnt; how many values are of another type.",
            "short",
            (
                Query(seen("feature_drift", "name"), "Distance"),
                Query(seen("feature_drift_threshold", "name"), "Threshold"),
                Query(seen("feature_missing_share", "name"), "Missing", "percentunit"),
                Query(seen("feature_outside_share", "name"), "Outside", "percentunit"),
                Query(seen("feature_mistyped", "name"), "Mistyped"),
            ),
            kind=Kind.TABLE,
            width=24,
            alerts=("InputsOutsideTraining", "InputsMistyped"),
        ),
    ),
)
PERFORMANCE = Row(
    "Performance",
    (
        Panel(
            "The declared metric",
            "On the newest rows whose outcome is known, with its band; at training; and as expected for the rows whose "
            "outcome is not known yet.",
            "short",
            (
                Query(declared("performance"), "{{name}}"),
                Query(seen("performance_low"), "{{name}}, low end"),
                Query(seen("performance_high"), "{{name}}, high end"),
                Query(declared("performance_at_training"), "{{name}} at training"),
                Query(declared("estimated"), "{{name}} as expected"),
            ),
            alerts=("ModelPerformance", "EstimatedPerformance"),
        ),
        Panel(
            "Loss",
            "How much of the declared metric is lost since training: as known, as expected before outcomes, and how "
            "much the project allows.",
            "short",
            (
                Query(seen("performance_loss", "version"), "known"),
                Query(seen("estimated_loss", "version"), "expected"),
                Query(seen("performance_loss_allowed", "version"), "allowed"),
            ),
            alerts=("ModelPerformance", "EstimatedPerformance"),
        ),
        Panel(
            "Rows of the last look",
            "Predictions in its window, and those whose outcome is known. Too few outcomes: performance says little.",
            "short",
            (Query(seen("predictions", "version"), "predictions"), Query(seen("labelled", "version"), "with outcome")),
        ),
        Panel(
            "All metrics",
            "At the last look, at training, and as expected where outcomes are not known.",
            "short",
            (
                Query(seen("performance", "name"), "Now"),
                Query(seen("performance_at_training", "name"), "At training"),
                Query(seen("estimated", "name"), "Expected"),
            ),
            kind=Kind.TABLE,
            width=24,
        ),
    ),
)
DASHBOARD = Dashboard(
    "models",
    "Models",
    "Does the model still do what it was trained for?",
    (NOW, TRAFFIC, DRIFT, PERFORMANCE),
    (Variable("project", "Project", "serving_model_info", "model"),),
)

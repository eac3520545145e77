"""The model server: requests, time, errors, what it serves, its journal. By model: the dashboard Models."""

from tools.dashboards.model import Color, Dashboard, Kind, Panel, Query, Row

RATE = "[$__rate_interval]"
PREDICTIONS = f"sum(rate(model_infer_request_duration_count{RATE}))"
ANSWERS = f"sum(rate(rest_server_requests_total{RATE}))"


def quantile(share: float, histogram: str) -> str:
    """A quantile of a histogram, all its series together."""
    return f"histogram_quantile({share}, sum by (le) (rate({histogram}_bucket{RATE})))"


def answered(codes: str) -> str:
    """Answers a second with these status codes; 0 where there was none."""
    return f'sum(rate(rest_server_requests_total{{status_code=~"{codes}"}}{RATE})) or 0 * {ANSWERS}'


NOW = Row(
    "Now",
    (
        Panel(
            "Served",
            "How many versions answer, of all models and in all roles.",
            "none",
            (Query("sum(serving_model_info == 1)", "versions"),),
            kind=Kind.STAT,
            width=4,
            alerts=("NoChampion",),
        ),
        Panel(
            "MLflow",
            "Whether MLflow answered the server the last time. If not, what it serves stays as it is.",
            "none",
            (Query("min(serving_registry_up)", "registry"),),
            kind=Kind.STAT,
            width=4,
            words={0: ("away", Color.BAD), 1: ("answers", Color.GOOD)},
        ),
        Panel(
            "Predictions",
            "Requests for predictions, each second.",
            "reqps",
            (Query(PREDICTIONS, "predictions"),),
            kind=Kind.STAT,
            width=4,
        ),
        Panel(
            "Server's errors",
            "Share of all answers that are the server's fault (5xx).",
            "percentunit",
            # 0, not a division by nothing, while nobody asks
            (Query(f"({answered('5..')}) / clamp_min({ANSWERS}, 1e-9)", "5xx"),),
            kind=Kind.STAT,
            width=4,
            steps=((0.001, Color.DOUBTFUL), (0.05, Color.BAD)),
            alerts=("ModelServerErrors",),
        ),
        Panel(
            "Not in PostgreSQL yet",
            "Age of the oldest prediction that is only in the journal. Nothing is lost meanwhile.",
            "s",
            (Query("max(serving_journal_lag_seconds)", "behind"),),
            kind=Kind.STAT,
            width=4,
            steps=((60, Color.DOUBTFUL), (600, Color.BAD)),
            alerts=("JournalNotShipped",),
        ),
        Panel(
            "Refused for the journal",
            "Predictions that were refused since they could not be written down, since the server's start.",
            "none",
            (Query("sum(serving_journal_errors_total)", "refused"),),
            kind=Kind.STAT,
            width=4,
            steps=((1, Color.BAD),),
            alerts=("JournalNotWritten",),
        ),
    ),
)
REQUESTS = Row(
    "Requests",
    (
        Panel(
            "Answers",
            "By kind of status: 2xx given, 4xx the caller's fault, 5xx the server's.",
            "reqps",
            (
                Query(f'sum(rate(rest_server_requests_total{{status_code=~"2.."}}{RATE})) or 0 * {ANSWERS}', "2xx"),
                Query(answered("4.."), "4xx"),
                Query(answered("5.."), "5xx"),
            ),
            stacked=True,
            alerts=("ModelServerErrors",),
        ),
        Panel(
            "Answers by path",
            "What callers ask for; paths are the server's patterns.",
            "reqps",
            (Query(f"sum by (method, path) (rate(rest_server_requests_total{RATE}))", "{{method}} {{path}}"),),
        ),
        Panel(
            "Time to answer",
            "From a prediction request's arrival to its answer, all models: of half of them, all but a twentieth, all "
            "but a hundredth.",
            "s",
            tuple(
                Query(quantile(share, "model_infer_request_duration"), name)
                for share, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
            ),
        ),
        Panel(
            "Rows",
            "Predicted each second. A request may ask for many.",
            "rowsps",
            (Query(f"sum by (model) (rate(serving_rows_total{RATE}))", "{{model}}"),),
            stacked=True,
        ),
        Panel(
            "Requests computed together",
            "How many requests share one computation, on average. It grows with the load, which is what keeps the "
            "server fast.",
            "short",
            (
                Query(
                    f"sum by (model) (rate(batch_request_queue_sum{RATE})) "
                    f"/ sum by (model) (rate(batch_request_queue_count{RATE}))",
                    "{{model}}",
                ),
            ),
        ),
        Panel(
            "The model's share of the processor",
            "Seconds of the processor each second, for the models' computations alone.",
            "percentunit",
            (Query(f"sum by (model) (rate(request_predict_seconds_sum{RATE}))", "{{model}}"),),
        ),
    ),
)
VERSIONS = Row(
    "Versions",
    (
        Panel(
            "What is served",
            "Model, role, version, and what computes it: `trees` is the server's own fast path.",
            "none",
            (Query("max by (model, role, version, computed_by, run_id) (serving_model_info == 1)", "Served"),),
            kind=Kind.TABLE,
            width=16,
        ),
        Panel(
            "Aliases that are not served",
            "Roles whose alias points to a version that cannot be served. Empty is good: the version before it goes "
            "on.",
            "none",
            (Query("max by (model, role) (serving_model_alias_not_served == 1)", "Not served"),),
            kind=Kind.TABLE,
            alerts=("AliasNotServed",),
        ),
    ),
)
JOURNAL = Row(
    "Journal",
    (
        Panel(
            "Waiting for PostgreSQL",
            "Bytes of the journal that are not in PostgreSQL yet. At SERVING_JOURNAL_MAX_BYTES predictions are "
            "refused.",
            "bytes",
            (Query("max(serving_journal_waiting_bytes)", "waiting"),),
            width=6,
            alerts=("JournalNotShipped", "JournalNotWritten"),
        ),
        Panel(
            "Rows shipped",
            "Predictions and outcomes committed to PostgreSQL, each second.",
            "rowsps",
            (Query(f"sum(rate(serving_journal_shipped_rows_total{RATE}))", "rows"),),
            width=6,
        ),
        Panel(
            "Put aside",
            "Rows that PostgreSQL refused and lines that could not be read, since the start.",
            "short",
            (
                Query("sum(serving_journal_refused_rows_total)", "refused rows"),
                Query("sum(serving_journal_damaged_lines_total)", "damaged lines"),
            ),
            width=6,
            alerts=("JournalRowsPutAside",),
        ),
        Panel(
            "Time of the disk",
            "How long the disk takes to make the journal durable: all but a twentieth of the times.",
            "s",
            (Query(quantile(0.95, "serving_journal_sync_seconds"), "p95"),),
            width=6,
        ),
    ),
)
DASHBOARD = Dashboard(
    "serving",
    "Model server",
    "Are predictions answered, fast, and written down?",
    (NOW, REQUESTS, VERSIONS, JOURNAL),
)

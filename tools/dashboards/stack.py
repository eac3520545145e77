"""The whole stack: which service answers, the machine, PostgreSQL, the store."""

from tools.dashboards.model import COLUMNS, Color, Dashboard, Kind, Panel, Query, Row

UP = {0: ("down", Color.BAD), 1: ("up", Color.GOOD)}

NOW = Row(
    "Now",
    (
        Panel(
            "Services",
            "Whether each service answers Prometheus. The store is asked whether it is well; Airflow's parts count as "
            "up while their last heartbeat is younger than two minutes.",
            "none",
            (
                Query("min by (job) (up)", "{{job}}"),
                Query("max by (part) (time() - airflow_heartbeat_timestamp_seconds < bool 120)", "airflow-{{part}}"),
            ),
            kind=Kind.STAT,
            width=COLUMNS,
            words=UP,
            alerts=("ServiceDown", "AirflowSilent"),
        ),
        Panel(
            "Alerts that fire",
            "What Prometheus alerts on at this moment. Empty is good. Each alert has its section in docs/operating.md "
            "or docs/monitoring.md.",
            "none",
            (
                Query(
                    "sum by (alertname, severity, job, part, dag_id, device, model, project, version, name) "
                    '(ALERTS{alertstate="firing"})',
                    "Firing",
                ),
            ),
            kind=Kind.TABLE,
            width=16,
        ),
        Panel(
            "Alerts sent",
            "Messages to ALERT_TO, and those that did not get through.",
            "cps",
            (
                Query("sum(rate(alertmanager_notification_requests_total[$__rate_interval]))", "sent"),
                Query("sum(rate(alertmanager_notification_requests_failed_total[$__rate_interval]))", "failed"),
            ),
            alerts=("AlertsNotSent",),
        ),
    ),
)
MACHINE = Row(
    "Machine",
    (
        Panel(
            "CPU",
            "Share of all cores: at work, and waiting for the disk.",
            "percentunit",
            (
                Query('1 - avg(rate(node_cpu_seconds_total{mode="idle"}[$__rate_interval]))', "not idle"),
                Query('avg(rate(node_cpu_seconds_total{mode="iowait"}[$__rate_interval]))', "waiting for the disk"),
            ),
            width=6,
        ),
        Panel(
            "Waiting for a core, memory, the disk",
            "Share of the time in which something that could have run had to wait (the kernel's pressure figures). "
            "Long above a tenth, everything feels slow.",
            "percentunit",
            (
                Query("rate(node_pressure_cpu_waiting_seconds_total[$__rate_interval])", "a core"),
                Query("rate(node_pressure_memory_waiting_seconds_total[$__rate_interval])", "memory"),
                Query("rate(node_pressure_io_waiting_seconds_total[$__rate_interval])", "the disk"),
            ),
            width=6,
            steps=((0.1, Color.DOUBTFUL),),
        ),
        Panel(
            "Memory",
            "Used: what programs hold. The rest is free or can be freed at once.",
            "bytes",
            (
                Query("node_memory_MemTotal_bytes - node_memory_MemAvailable_bytes", "used"),
                Query("node_memory_MemTotal_bytes", "in all"),
            ),
            width=6,
            alerts=("MemoryShort", "KilledForMemory"),
        ),
        Panel(
            "Free disk",
            "Share of each disk that is left. In containers it is the disk that holds the engine's data.",
            "percentunit",
            (Query("min by (device) (node_filesystem_avail_bytes / node_filesystem_size_bytes)", "{{device}}"),),
            width=6,
            steps=((0, Color.BAD), (0.05, Color.DOUBTFUL), (0.25, Color.GOOD)),
            alerts=("DiskFilling", "DiskFull"),
        ),
        Panel(
            "Disk at work",
            "Share of the time in which each disk had something to do.",
            "percentunit",
            (Query("rate(node_disk_io_time_seconds_total[$__rate_interval])", "{{device}}"),),
        ),
        Panel(
            "Read and written",
            "Bytes a second, all disks together.",
            "Bps",
            (
                Query("sum(rate(node_disk_read_bytes_total[$__rate_interval]))", "read"),
                Query("sum(rate(node_disk_written_bytes_total[$__rate_interval]))", "written"),
            ),
        ),
        Panel(
            "Processes",
            "Those that run or wait for a core, and those that wait for the disk.",
            "short",
            (
                Query("node_procs_running", "running"),
                Query("node_procs_blocked", "blocked"),
                Query("node_load5", "load, 5 minutes"),
            ),
        ),
    ),
)
POSTGRES = Row(
    "PostgreSQL",
    (
        Panel(
            "Connections",
            "By database, and how many there may be in all. At the limit every service is refused.",
            "short",
            (
                Query("sum by (datname) (pg_stat_activity_count) > 0", "{{datname}}"),
                Query("max(pg_settings_max_connections)", "limit"),
            ),
            alerts=("PostgresConnections", "PostgresDown"),
        ),
        Panel(
            "Transactions",
            "Committed each second, by database, and rolled back in all.",
            "ops",
            (
                Query(
                    "sum by (datname) (rate(pg_stat_database_xact_commit"
                    '{datname!="", datname!~"template.*"}[$__rate_interval]))',
                    "{{datname}}",
                ),
                Query("sum(rate(pg_stat_database_xact_rollback[$__rate_interval]))", "rolled back"),
            ),
        ),
        Panel(
            "Found in memory",
            "Share of the pages that did not have to be read from the disk or the system's cache. Long below nine "
            "tenths: POSTGRES_SHARED_BUFFERS_MB is small for what is asked.",
            "percentunit",
            (
                Query(
                    "sum(rate(pg_stat_database_blks_hit[$__rate_interval])) / (sum(rate("
                    "pg_stat_database_blks_hit[$__rate_interval])) + "
                    "sum(rate(pg_stat_database_blks_read[$__rate_interval])))",
                    "in memory",
                ),
            ),
        ),
        Panel(
            "Size",
            "Of each database on the disk.",
            "bytes",
            (Query('max by (datname) (pg_database_size_bytes{datname!~"template.*"})', "{{datname}}"),),
            stacked=True,
        ),
        Panel(
            "Longest transaction",
            "How long the oldest open transaction of each database has lasted. One of hours keeps space from being "
            "freed.",
            "s",
            (Query('max by (datname) (pg_stat_activity_max_tx_duration{datname!~"template.*"})', "{{datname}}"),),
        ),
        Panel(
            "Deadlocks and spilled sorts",
            "Deadlocks, and files that queries had to write since their memory was too small.",
            "ops",
            (
                Query("sum(rate(pg_stat_database_deadlocks[$__rate_interval]))", "deadlocks"),
                Query("sum(rate(pg_stat_database_temp_files[$__rate_interval]))", "temporary files"),
            ),
        ),
    ),
)
STORE = Row(
    "Store and registry",
    (
        Panel(
            "The store's answer",
            "How long SeaweedFS took to say that it is well.",
            "s",
            (Query('scrape_duration_seconds{job="seaweedfs"}', "answer"),),
        ),
        Panel(
            "MLflow's requests",
            "By status; artifacts go through MLflow to the store and are among them.",
            "reqps",
            (Query("sum by (status) (rate(mlflow_http_request_total[$__rate_interval]))", "{{status}}"),),
            stacked=True,
        ),
        Panel(
            "MLflow's time to answer",
            "Of half of the requests, and of all but a twentieth.",
            "s",
            tuple(
                Query(
                    f"histogram_quantile({share}, sum by (le) "
                    "(rate(mlflow_http_request_duration_seconds_bucket[$__rate_interval])))",
                    name,
                )
                for share, name in ((0.5, "p50"), (0.95, "p95"))
            ),
        ),
    ),
)
PROMETHEUS = Row(
    "Prometheus",
    (
        Panel(
            "Series",
            "How many series Prometheus follows: its memory goes with them.",
            "short",
            (Query("prometheus_tsdb_head_series", "series"),),
        ),
        Panel(
            "Time to ask each service",
            "A scrape that takes long shows a service that is busy.",
            "s",
            (Query("max by (job) (scrape_duration_seconds)", "{{job}}"),),
        ),
        Panel(
            "Exporters",
            "Whether PostgreSQL lets each exporter in and answers all its queries.",
            "none",
            (Query("min by (job) (pg_up * (1 - pg_exporter_last_scrape_error))", "{{job}}"),),
            kind=Kind.STAT,
            words={0: ("incomplete", Color.BAD), 1: ("complete", Color.GOOD)},
            alerts=("ExporterIncomplete", "PostgresDown"),
        ),
    ),
)
DASHBOARD = Dashboard(
    "stack",
    "Stack",
    "Is everything there, and does the machine have enough of everything?",
    (NOW, MACHINE, POSTGRES, STORE, PROMETHEUS),
)

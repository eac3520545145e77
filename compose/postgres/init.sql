-- One role a service, one database a role; nobody else may even connect.
\getenv airflow_password POSTGRES_AIRFLOW_PASSWORD
\getenv mlflow_password POSTGRES_MLFLOW_PASSWORD
\getenv pipelines_password POSTGRES_PIPELINES_PASSWORD
\getenv serving_password POSTGRES_SERVING_PASSWORD
\getenv coder_password POSTGRES_CODER_PASSWORD
\getenv exporter_password POSTGRES_EXPORTER_PASSWORD
\getenv airflow_exporter_password POSTGRES_AIRFLOW_EXPORTER_PASSWORD

CREATE TEMPORARY TABLE wanted_role (name text, password text);
INSERT INTO wanted_role VALUES
    ('airflow', :'airflow_password'),
    ('mlflow', :'mlflow_password'),
    ('pipelines', :'pipelines_password'),
    ('serving', :'serving_password'),
    ('coder', :'coder_password'),
    ('exporter', :'exporter_password'),
    ('airflow_exporter', :'airflow_exporter_password');
CREATE TEMPORARY TABLE wanted_database (name text, owner text);
INSERT INTO wanted_database VALUES
    ('airflow', 'airflow'),
    ('mlflow', 'mlflow'),
    ('mlflow_auth', 'mlflow'),
    ('warehouse', 'pipelines'),
    ('serving', 'serving'),
    ('coder', 'coder');

SELECT format('CREATE ROLE %I LOGIN', name) FROM wanted_role
WHERE name NOT IN (SELECT rolname FROM pg_roles) \gexec
SELECT format('ALTER ROLE %I PASSWORD %L', name, password) FROM wanted_role \gexec
SELECT format('CREATE DATABASE %I OWNER %I', name, owner) FROM wanted_database
WHERE name NOT IN (SELECT datname FROM pg_database) \gexec
SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', datname) FROM pg_database \gexec

-- Monitoring joins the predictions with what happened: it may read the tables that the model server grants it.
GRANT CONNECT ON DATABASE serving TO pipelines;

-- Prometheus's exporters: one sees the statistics of the whole server and no data, the other the columns of Airflow's
-- tables that `airflow-init` grants it.
GRANT pg_monitor TO exporter;
GRANT CONNECT ON DATABASE postgres TO exporter;
GRANT CONNECT ON DATABASE airflow TO airflow_exporter;

#!/bin/sh
# Becomes Airflow's api-server: api-server.sh URL [OPTION…]; beside it, warmup.py waits for URL, does its one call and ends.
url=$1
shift
# In a shell of its own, so that it is not left behind as a child that the server never waits for.
(python -I -S compose/airflow/warmup.py "$url" &)
exec airflow api-server "$@"

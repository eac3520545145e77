"""The local runtime: the services of the compose files as native processes under supervisord."""

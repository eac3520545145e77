#!/bin/sh
# Makes the roles and databases of the platform, or brings them up to date (a changed password too).
# Safe to repeat. psql reads the passwords from the environment, so they stand in no argument list.
set -eu
here=$(dirname "$0")
"$here/with-postgres.sh" psql -X -q -v ON_ERROR_STOP=1 -d postgres -f "$here/init.sql"
people() {
    PGOPTIONS="-c client_min_messages=warning" \
        "$here/with-postgres.sh" psql -X -q -v ON_ERROR_STOP=1 -d warehouse -f "$here/people.sql"
}
# PostgreSQL refuses a grant while another session makes one for the same table, as dbt does with each that it builds.
people || { sleep 1; people; } || { sleep 5; people; }
echo "roles and databases are up to date"

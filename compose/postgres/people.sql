-- Run in the warehouse. People have roles of their own (`platform users`), members of one of these: `people_data` reads what
-- is worked with, `people_all` everything in the warehouse, the platform's own records too. Neither changes anything.
SELECT format('CREATE ROLE %I NOLOGIN', name) FROM unnest(ARRAY['people_data', 'people_all']) AS name
WHERE name NOT IN (SELECT rolname FROM pg_roles) \gexec
GRANT CONNECT ON DATABASE warehouse TO people_data, people_all;
GRANT pg_read_all_data TO people_all;
CREATE SCHEMA IF NOT EXISTS raw AUTHORIZATION pipelines;
CREATE SCHEMA IF NOT EXISTS staging AUTHORIZATION pipelines;
CREATE SCHEMA IF NOT EXISTS marts AUTHORIZATION pipelines;
GRANT USAGE ON SCHEMA raw, staging, marts TO people_data;
GRANT SELECT ON ALL TABLES IN SCHEMA raw, staging, marts TO people_data;
ALTER DEFAULT PRIVILEGES FOR ROLE pipelines IN SCHEMA raw, staging, marts GRANT SELECT ON TABLES TO people_data;

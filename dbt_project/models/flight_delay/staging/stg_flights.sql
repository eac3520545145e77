select
    to_char(make_date(year::int, month::int, day::int), 'YYYY-MM-DD')
        || '-' || carrier || '-' || flight || '-' || origin || '-' || lpad(sched_dep_time::text, 4, '0') as flight_id,
    make_timestamp(
        year::int, month::int, day::int, sched_dep_time::int / 100, sched_dep_time::int % 100, 0
    ) as scheduled_departure,
    -- time_hour is the UTC hour of the scheduled departure.
    time_hour::timestamptz + make_interval(mins => sched_dep_time::int % 100) as scheduled_departure_utc,
    time_hour::timestamptz as departure_hour_utc,
    carrier,
    flight::int as flight_number,
    tailnum as tail_number,
    origin,
    dest as destination,
    distance::int as distance,
    dep_time is null as is_cancelled,
    arr_delay::int as arrival_delay,
    _airbyte_extracted_at as loaded_at
from {{ source('raw', 'flights') }}

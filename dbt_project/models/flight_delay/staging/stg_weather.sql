select
    origin,
    time_hour::timestamptz as observed_at,
    temp::double precision as temperature,
    dewp::double precision as dew_point,
    humid::double precision as humidity,
    wind_dir::double precision as wind_direction,
    -- A gauge at EWR reported 1,048 mph on 12 February 2013; the strongest wind ever measured was 253.
    case when wind_speed <= 253 then wind_speed::double precision end as wind_speed,
    case when wind_gust <= 253 then wind_gust::double precision end as wind_gust,
    precip::double precision as precipitation,
    pressure::double precision as pressure,
    visib::double precision as visibility
from {{ source('raw', 'weather') }}

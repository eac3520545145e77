select
    faa as airport,
    name as airport_name,
    lat::double precision as latitude,
    lon::double precision as longitude,
    alt::int as altitude,
    tz::int as utc_offset
from {{ source('raw', 'airports') }}

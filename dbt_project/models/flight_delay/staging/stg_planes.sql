select
    tailnum as tail_number,
    year::int as year_built,
    type as plane_type,
    manufacturer,
    engines::int as engines,
    seats::int as seats
from {{ source('raw', 'planes') }}

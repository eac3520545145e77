-- Replaced as a whole, in one transaction, once every test of stg_flight_features has passed.
select * from {{ ref('stg_flight_features') }}

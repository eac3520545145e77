-- Nothing that is known only after the scheduled departure may reach the features. Fails with
-- 1. rows whose weather was observed in the hour of departure or later,
-- 2. rows whose weather is not that of the observation they name,
-- 3. columns of the features that are an outcome of the flight.
with features as (
    select * from {{ ref('stg_flight_features') }}
),

outcomes as (
    select column_name from information_schema.columns
    where table_schema = '{{ ref('stg_flight_features').schema }}'
        and table_name = '{{ ref('stg_flight_features').identifier }}'
        and (column_name ~ '(arrival|departure|arr|dep)_(delay|time)' or column_name in ('air_time', 'is_cancelled'))
)

select flight_id, 'weather of the hour of departure or later' as leak
from features
where greatest(weather_observed_at, area_observed_at) >= date_trunc('hour', scheduled_departure_utc)

union all

select features.flight_id, 'weather of another hour' as leak
from features
inner join {{ ref('stg_weather') }} as weather
    on features.origin = weather.origin and features.weather_observed_at = weather.observed_at
where (features.temperature, features.wind_speed, features.precipitation, features.visibility)
    is distinct from (weather.temperature, weather.wind_speed, weather.precipitation, weather.visibility)

union all

select column_name as flight_id, 'an outcome among the features' as leak
from outcomes

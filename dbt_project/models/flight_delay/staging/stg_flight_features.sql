-- The rows of the mart before they are let in: the tests of this model must pass before the mart is replaced.
-- Everything here is known at the scheduled departure; weather is that of the hour before.
with flights as (
    select * from {{ ref('stg_flights') }}
),

-- The timetable is public beforehand, so flights that were cancelled later count as well.
timetable as (
    select origin, departure_hour_utc, count(*)::int as departures
    from flights
    group by origin, departure_hour_utc
),

-- The three airports share their sky: a storm over one of them holds up all. A sum of doubles depends on their order.
area as (
    select
        observed_at,
        avg(precipitation order by origin) as precipitation,
        min(visibility) as visibility,
        max(wind_speed) as wind_speed,
        avg(pressure order by origin) as pressure
    from {{ ref('stg_weather') }}
    group by observed_at
)

select
    flights.flight_id,
    flights.scheduled_departure,
    flights.scheduled_departure_utc,
    weather.observed_at as weather_observed_at,
    flights.tail_number,
    flights.carrier,
    airlines.carrier_name,
    flights.origin,
    flights.destination,
    extract(hour from flights.scheduled_departure)::int as hour,
    extract(isodow from flights.scheduled_departure)::int as weekday,
    extract(month from flights.scheduled_departure)::int as month,
    extract(doy from flights.scheduled_departure)::int as day_of_year,
    flights.distance,
    timetable.departures as departures_same_hour,
    coalesce(earlier.departures, 0) as departures_hour_before,
    airports.latitude as destination_latitude,
    airports.longitude as destination_longitude,
    airports.altitude as destination_altitude,
    airports.utc_offset as destination_utc_offset,
    extract(year from flights.scheduled_departure)::int - planes.year_built as plane_age,
    planes.seats as plane_seats,
    planes.engines as plane_engines,
    planes.plane_type,
    planes.manufacturer as plane_manufacturer,
    weather.temperature,
    weather.dew_point,
    weather.humidity,
    weather.wind_direction,
    weather.wind_speed,
    weather.wind_gust,
    weather.precipitation,
    weather.pressure,
    weather.visibility,
    area.observed_at as area_observed_at,
    area.precipitation as area_precipitation,
    area.visibility as area_visibility,
    area.wind_speed as area_wind_speed,
    area.pressure - area_earlier.pressure as pressure_change,
    flights.arrival_delay > 15 as is_late
from flights
inner join timetable
    on flights.origin = timetable.origin and flights.departure_hour_utc = timetable.departure_hour_utc
left join timetable as earlier
    on flights.origin = earlier.origin and flights.departure_hour_utc - interval '1 hour' = earlier.departure_hour_utc
left join {{ ref('stg_weather') }} as weather
    on flights.origin = weather.origin and flights.departure_hour_utc - interval '1 hour' = weather.observed_at
left join area on flights.departure_hour_utc - interval '1 hour' = area.observed_at
left join area as area_earlier on area.observed_at - interval '3 hours' = area_earlier.observed_at
left join {{ ref('stg_airlines') }} as airlines on flights.carrier = airlines.carrier
left join {{ ref('stg_planes') }} as planes on flights.tail_number = planes.tail_number
left join {{ ref('stg_airports') }} as airports on flights.destination = airports.airport
where not flights.is_cancelled

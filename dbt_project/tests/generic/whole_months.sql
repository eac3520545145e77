{#- Fails for months with less than `share` of the rows that a month has on average: a file that lost some shows here. -#}
{% test whole_months(model, column_name, share) %}
with months as (
    select date_trunc('month', {{ column_name }}) as month, count(*) as found
    from {{ model }}
    group by 1
)

select *
from months
where found < {{ share }} * (select avg(found) from months)
{% endtest %}

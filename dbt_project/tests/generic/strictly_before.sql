{#- Fails for rows where this time is not before the time in column `other`; null is no failure. -#}
{% test strictly_before(model, column_name, other) %}
select *
from {{ model }}
where {{ column_name }} >= {{ other }}
{% endtest %}

{#- Fails for rows whose value is below `minimum` or above `maximum` (both allowed themselves; null is no failure). -#}
{% test in_range(model, column_name, minimum, maximum) %}
select *
from {{ model }}
where {{ column_name }} < {{ minimum }} or {{ column_name }} > {{ maximum }}
{% endtest %}

{#- Fails with one row if less than `share` of the values are known: a join that lost its partner shows here. -#}
{% test mostly_known(model, column_name, share) %}
select '{{ column_name }}' as column_name, count({{ column_name }}) as known, count(*) as total
from {{ model }}
having count({{ column_name }}) < {{ share }} * count(*)
{% endtest %}

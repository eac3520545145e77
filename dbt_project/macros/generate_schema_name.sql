{#- The schemas are called staging, marts and dbt_failures, without the target's schema as a prefix. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ (custom_schema_name or target.schema) | trim }}
{%- endmacro %}

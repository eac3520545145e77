{#- The schema of a model is the directory below its project's (models/<project>/staging, models/<project>/marts), that
    of what a test stored dbt_failures; without the target's schema as a prefix. In a trial (`platform test`) all is in
    the trial's own schema. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {%- set layer = node.fqn[2] if node.resource_type == 'model' and node.fqn | length > 3 -%}
    {{ (env_var('PLATFORM_SCRATCH', '') or custom_schema_name or layer or target.schema) | trim }}
{%- endmacro %}

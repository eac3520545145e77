{#- Keeps in dbt_failures.failing_nodes what failed when it was last run, so that `pipelines failures` can tell
    which rows, whoever started dbt and wherever its target directory is. A trial's are kept under its own name. -#}
{% macro record_failures(results) %}
  {% if execute and flags.WHICH in ('build', 'run', 'test') and results %}
    {% set table = 'dbt_failures.failing_nodes' %}
    {% set scratch = env_var('PLATFORM_SCRATCH', '') %}
    {% set ids = [] %}
    {% set rows = [] %}
    {% for result in results %}
      {% set node = result.node %}
      {% do ids.append(literal(scratch ~ node.unique_id)) %}
      {% if result.status in ('fail', 'error') %}
        {% set stored = node.relation_name if node.resource_type == 'test' and result.status == 'fail' else none %}
        {% do rows.append('(' ~ [
            literal(scratch ~ node.unique_id), literal(scratch or node.fqn[1]), literal(node.name), literal(node.resource_type),
            literal(node.original_file_path), literal(result.message), literal(stored), 'now()',
        ] | join(', ') ~ ')') %}
      {% endif %}
    {% endfor %}
    create schema if not exists dbt_failures;
    create table if not exists {{ table }} (
        unique_id text primary key, project text, name text, resource_type text, file text,
        message text, relation text, failed_at timestamptz
    );
    delete from {{ table }} where unique_id in ({{ ids | join(', ') }});
    {% if rows %}
    insert into {{ table }} values {{ rows | join(', ') }};
    {% endif %}
  {% endif %}
{% endmacro %}

{% macro literal(value) -%}
    {{ 'null' if value is none else dbt.string_literal(dbt.escape_single_quotes(value | string)) }}
{%- endmacro %}

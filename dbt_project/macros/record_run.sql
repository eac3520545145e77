{#- Keeps in lineage.dbt_runs what each run built from what, and how its tests ended, so that a prediction can be
    traced through it, whoever started dbt. -#}
{% macro record_run(results) %}
  {% if execute and flags.WHICH in ('build', 'run', 'test') and results %}
    {% set runs = {} %}
    {% for result in results %}
      {% set node = result.node %}
      {% set run = runs.setdefault(node.fqn[1], {'models': [], 'tests': {}, 'failed': []}) %}
      {% if result.status in ('fail', 'error', 'runtime error') %}
        {% do run.failed.append(node.name) %}
      {% endif %}
      {% if node.resource_type == 'test' %}
        {% do run.tests.update({result.status | string: run.tests.get(result.status | string, 0) + 1}) %}
      {% elif node.resource_type in ('model', 'seed', 'snapshot') %}
        {% do run.models.append({
            'table': table_of(node), 'kind': node.resource_type, 'status': result.status | string,
            'seconds': result.execution_time | round(3), 'inputs': fromjson(inputs_of(node)),
        }) %}
      {% endif %}
    {% endfor %}
    select pg_advisory_xact_lock(hashtext('lineage'));
    create schema if not exists lineage;
    create table if not exists lineage.dbt_runs (
        invocation_id text not null, project text not null, pipeline_run text not null, actor text not null,
        dbt_version text not null, started_at timestamptz not null, ended_at timestamptz not null,
        state text not null, models jsonb not null, tests jsonb not null, failed jsonb not null,
        emitted boolean not null default false, primary key (invocation_id, project)
    );
    {% for project, run in runs.items() %}
    insert into lineage.dbt_runs values ({{ [
        literal(invocation_id), literal(project), literal(env_var('PLATFORM_PIPELINE_RUN', '')),
        literal(env_var('PLATFORM_ACTOR', '')), literal(dbt_version), literal(run_started_at.isoformat()), 'now()',
        literal('failed' if run.failed else 'done'), literal(tojson(run.models)), literal(tojson(run.tests)),
        literal(tojson(run.failed)),
    ] | join(', ') }});
    {% endfor %}
  {% endif %}
{% endmacro %}

{% macro table_of(node) -%}
    {{ node.schema ~ '.' ~ (node.identifier if node.resource_type == 'source' else node.alias) }}
{%- endmacro %}

{#- The tables that a model reads, as a JSON list: a macro returns text. -#}
{% macro inputs_of(node) -%}
    {% set found = [] %}
    {% for parent in node.depends_on.nodes %}
      {% set input = graph.sources.get(parent) or graph.nodes.get(parent) %}
      {% if input %}{% do found.append(table_of(input)) %}{% endif %}
    {% endfor %}
    {{ tojson(found) }}
{%- endmacro %}

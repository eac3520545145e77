{#- In a trial (`platform test`) a source is the relation `source_<table>` of the trial's schema: a sample of its rows. -#}
{% macro source(source_name, table_name) %}
    {% set relation = builtins.source(source_name, table_name) %}
    {% set scratch = env_var('PLATFORM_SCRATCH', '') %}
    {% if scratch %}
        {% set relation = relation.incorporate(path={'schema': scratch, 'identifier': 'source_' ~ relation.identifier}) %}
    {% endif %}
    {{ return(relation) }}
{% endmacro %}

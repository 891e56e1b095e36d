//! What CockroachDB says of its schema, in queries that PostgreSQL answers too: the stand-in is one.
//!
//! Left out, because only one of the two has it or knows it by the same name: functions, triggers, comments, owners of what is no
//! table, materialized views' contents, zones and localities, statistics, and the settings of sessions.

/// Schemas that a server has by itself. `pg_extension` is CockroachDB's; the stand-in keeps its own below `crdb_internal`.
macro_rules! own_schemas {
    () => {
        "('pg_catalog', 'information_schema', 'crdb_internal', 'pg_extension', 'pg_toast')"
    };
}

/// Tables: the item, the table as it is written in SQL.
pub const TABLES: &str = concat!(
    "SELECT 'table ' || n.nspname || '.' || c.relname, quote_ident(n.nspname) || '.' || quote_ident(c.relname), n.nspname::text, c.relname::text
     FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ",
    own_schemas!(),
    " AND n.nspname NOT LIKE 'pg_temp%' ORDER BY 1"
);

/// Columns of a table ($1 its schema, $2 its name) in their order: name, type, and the position in the primary key where it has one.
pub const COLUMNS: &str = "
    SELECT c.column_name::text, c.data_type::text, k.ordinal_position::int8
    FROM information_schema.columns c
    LEFT JOIN (
        SELECT u.table_schema, u.table_name, u.column_name, u.ordinal_position
        FROM information_schema.key_column_usage u
        JOIN information_schema.table_constraints t ON t.constraint_type = 'PRIMARY KEY' AND t.constraint_name = u.constraint_name
            AND t.table_schema = u.table_schema AND t.table_name = u.table_name
    ) k ON k.table_schema = c.table_schema AND k.table_name = c.table_name AND k.column_name = c.column_name
    WHERE c.table_schema = $1 AND c.table_name = $2 ORDER BY c.ordinal_position";

/// Foreign keys: the table and the constraint as they are written in SQL.
pub const FOREIGN_KEYS: &str = concat!(
    "SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname), quote_ident(o.conname)
     FROM pg_catalog.pg_constraint o JOIN pg_catalog.pg_class c ON c.oid = o.conrelid
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE o.contype = 'f' AND n.nspname NOT IN ",
    own_schemas!(),
    " ORDER BY 1, 2"
);

/// Sequences: the item, the sequence as it is written in SQL, its parameters.
pub const SEQUENCES: &str = concat!(
    "SELECT 'sequence ' || sequence_schema || '.' || sequence_name, quote_ident(sequence_schema) || '.' || quote_ident(sequence_name),
         'start ' || start_value || ', increment ' || increment || ', from ' || minimum_value || ' to ' || maximum_value || ', cycle ' || cycle_option
     FROM information_schema.sequences WHERE sequence_schema NOT IN ",
    own_schemas!(),
    " ORDER BY 1"
);

/// Each a name for messages, and a query of items and their definitions.
pub const DEFINITIONS: [(&str, &str); 9] = [
    (
        "schemas",
        concat!(
            "SELECT 'schema ' || nspname, '' FROM pg_catalog.pg_namespace WHERE nspname NOT IN ",
            own_schemas!(),
            " AND nspname NOT LIKE 'pg_temp%' AND nspname NOT LIKE 'pg_toast%'"
        ),
    ),
    (
        "owners",
        concat!(
            "SELECT 'owner of ' || n.nspname || '.' || c.relname, pg_catalog.pg_get_userbyid(c.relowner)::text
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S') AND n.nspname NOT IN ",
            own_schemas!(),
            " AND n.nspname NOT LIKE 'pg_temp%'"
        ),
    ),
    (
        "columns",
        concat!(
            "SELECT 'column ' || table_schema || '.' || table_name || '.' || column_name,
                 (row_number() OVER (PARTITION BY table_schema, table_name ORDER BY ordinal_position))::text || ' ' || data_type || coalesce('(' || character_maximum_length::text || ')', '')
                 || coalesce(' ' || numeric_precision::text || ',' || numeric_scale::text, '') || ' ' || udt_name
                 || CASE is_nullable WHEN 'YES' THEN '' ELSE ' not null' END || coalesce(' default ' || column_default, '')
                 || coalesce(' as ' || nullif(generation_expression, ''), '') || coalesce(' identity ' || identity_generation, '')
             FROM information_schema.columns WHERE table_schema NOT IN ",
            own_schemas!(),
            " AND table_schema NOT LIKE 'pg_temp%'"
        ),
    ),
    (
        "constraints",
        concat!(
            "SELECT 'constraint ' || o.conname || ' on ' || n.nspname || '.' || c.relname, pg_catalog.pg_get_constraintdef(o.oid)
             FROM pg_catalog.pg_constraint o JOIN pg_catalog.pg_class c ON c.oid = o.conrelid
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname NOT IN ",
            own_schemas!()
        ),
    ),
    (
        "indexes",
        concat!(
            "SELECT 'index ' || schemaname || '.' || indexname || ' on ' || tablename, indexdef
             FROM pg_catalog.pg_indexes WHERE schemaname NOT IN ",
            own_schemas!()
        ),
    ),
    (
        "views",
        concat!(
            "SELECT 'view ' || schemaname || '.' || viewname, definition FROM pg_catalog.pg_views WHERE schemaname NOT IN ",
            own_schemas!()
        ),
    ),
    (
        "enumerations",
        concat!(
            "SELECT 'type ' || n.nspname || '.' || t.typname, string_agg(e.enumlabel::text, ', ' ORDER BY e.enumsortorder)
             FROM pg_catalog.pg_type t JOIN pg_catalog.pg_enum e ON e.enumtypid = t.oid
             JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace WHERE n.nspname NOT IN ",
            own_schemas!(),
            " GROUP BY n.nspname, t.typname"
        ),
    ),
    (
        "roles",
        "SELECT 'role ' || r.rolname, 'login ' || r.rolcanlogin::text || ', makes databases ' || r.rolcreatedb::text
             || ', makes roles ' || r.rolcreaterole::text
         FROM pg_catalog.pg_roles r WHERE r.rolname NOT LIKE 'pg\\_%'",
    ),
    (
        "members",
        "SELECT 'member ' || m.rolname || ' of ' || r.rolname, 'admin ' || a.admin_option::text
         FROM pg_catalog.pg_auth_members a JOIN pg_catalog.pg_roles r ON r.oid = a.roleid
         JOIN pg_catalog.pg_roles m ON m.oid = a.member WHERE r.rolname NOT LIKE 'pg\\_%'",
    ),
];

/// Grants on tables, views and sequences: the item, how many, the privileges.
pub const GRANTS: &str = concat!(
    "SELECT 'grant on ' || table_schema || '.' || table_name || ' to ' || grantee, count(*),
         string_agg(privilege_type || CASE is_grantable WHEN 'YES' THEN ' with grant option' ELSE '' END, ', ' ORDER BY privilege_type)
     FROM information_schema.table_privileges WHERE table_schema NOT IN ",
    own_schemas!(),
    " GROUP BY table_schema, table_name, grantee"
);

//! What a PostgreSQL database is made of besides rows, as texts that a dump and its restore leave alike.
//!
//! Each query gives names and definitions. Names say what a person would call the thing; OIDs, which every restore gives
//! anew, appear in neither. Sessions run with an empty `search_path`, so that the server spells every name out.

/// Put before every query: own schemas, relations in them, and what belongs to extensions (which bring it themselves).
const PRELUDE: &str = "
WITH member AS MATERIALIZED (SELECT classid, objid FROM pg_depend WHERE deptype = 'e'),
ns AS (
    SELECT oid, nspname, quote_ident(nspname) AS name, nspowner, nspacl FROM pg_namespace
    WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
      AND (oid, 'pg_namespace'::regclass::oid) NOT IN (SELECT objid, classid FROM member)
),
rel AS (
    SELECT c.*, format('%s.%I', ns.name, c.relname) AS name,
           CASE c.relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'table' WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view'
                WHEN 'S' THEN 'sequence' WHEN 'f' THEN 'foreign table' WHEN 'i' THEN 'index' WHEN 'I' THEN 'index'
                ELSE 'composite type' END AS kind
    FROM pg_class c JOIN ns ON ns.oid = c.relnamespace
    WHERE (c.oid, 'pg_class'::regclass::oid) NOT IN (SELECT objid, classid FROM member)
),
proc AS (
    SELECT p.*, format('%s.%I(%s)', ns.name, p.proname, pg_get_function_identity_arguments(p.oid)) AS name,
           CASE p.prokind WHEN 'a' THEN 'aggregate' WHEN 'p' THEN 'procedure' ELSE 'function' END AS kind
    FROM pg_proc p JOIN ns ON ns.oid = p.pronamespace
    WHERE (p.oid, 'pg_proc'::regclass::oid) NOT IN (SELECT objid, classid FROM member)
),
typ AS (
    SELECT t.*, format('%s.%I', ns.name, t.typname) AS name, CASE t.typtype WHEN 'd' THEN 'domain' ELSE 'type' END AS kind
    FROM pg_type t JOIN ns ON ns.oid = t.typnamespace LEFT JOIN pg_class c ON c.oid = t.typrelid
    WHERE (t.oid, 'pg_type'::regclass::oid) NOT IN (SELECT objid, classid FROM member)
      AND (t.typtype IN ('e', 'd', 'r') OR (t.typtype = 'b' AND t.typcategory <> 'A') OR c.relkind = 'c')
)
";

/// Name, definition.
pub(super) const DEFINITIONS: &[(&str, &str)] = &[
    ("schemas", "SELECT 'schema ' || name, '' FROM ns"),
    (
        "tables",
        "SELECT format('definition of %s %s', kind, name), concat_ws(' ', relkind::text,
            'persistence ' || relpersistence::text, 'partition by ' || pg_get_partkeydef(rel.oid), pg_get_expr(relpartbound, rel.oid),
            'parents ' || (SELECT string_agg(inhparent::regclass::text, ',' ORDER BY inhseqno) FROM pg_inherits WHERE inhrelid = rel.oid),
            'options ' || (SELECT string_agg(o, ',' ORDER BY o) FROM unnest(reloptions) o),
            CASE WHEN relrowsecurity THEN 'row security' END, CASE WHEN relforcerowsecurity THEN 'forced' END,
            'replica identity ' || relreplident::text, 'method ' || (SELECT amname FROM pg_am WHERE pg_am.oid = relam),
            'tablespace ' || (SELECT spcname FROM pg_tablespace s WHERE s.oid = reltablespace),
            'of ' || nullif(reloftype, 0)::regtype::text)
         FROM rel WHERE relkind IN ('r', 'p', 'f')",
    ),
    (
        // Recent servers keep a `pg_attver` of their own among a column's options; like pg_dump, leave such names alone.
        "columns",
        "SELECT format('column %s.%I', name, attname), concat_ws(' ',
            'position ' || row_number() OVER (PARTITION BY rel.oid ORDER BY attnum), format_type(atttypid, atttypmod),
            CASE WHEN attnotnull THEN 'not null' END,
            CASE attgenerated WHEN '' THEN 'default ' ELSE 'generated ' END || pg_get_expr(adbin, adrelid),
            'identity ' || nullif(attidentity::text, ''), 'storage ' || attstorage::text,
            'collation ' || (SELECT quote_ident(collname) FROM pg_collation l, pg_type t
                             WHERE l.oid = attcollation AND t.oid = atttypid AND attcollation <> typcollation),
            'statistics ' || nullif(attstattarget, -1), 'options ' || (SELECT string_agg(o, ',' ORDER BY o) FROM unnest(attoptions) o WHERE o !~ '^pg_'))
         FROM rel JOIN pg_attribute a ON a.attrelid = rel.oid AND attnum > 0 AND NOT attisdropped
         LEFT JOIN pg_attrdef d ON d.adrelid = rel.oid AND d.adnum = attnum WHERE relkind IN ('r', 'p', 'f', 'c')",
    ),
    (
        // Copies of a foreign key on partitions follow from the one on their parent, under names that a restore may choose anew.
        "constraints",
        "SELECT format('constraint %I on %s', conname, coalesce(rel.name, typ.name)), pg_get_constraintdef(k.oid)
         FROM pg_constraint k LEFT JOIN rel ON rel.oid = conrelid LEFT JOIN typ ON typ.oid = contypid
         WHERE (rel.oid IS NOT NULL OR typ.oid IS NOT NULL) AND contype <> 't' AND NOT (contype = 'f' AND conparentid <> 0)",
    ),
    (
        "indexes",
        "SELECT 'index ' || rel.name, concat_ws(' ', pg_get_indexdef(rel.oid), CASE WHEN indisclustered THEN 'clustered' END,
            CASE WHEN indisreplident THEN 'replica identity' END, CASE WHEN NOT indisvalid THEN 'invalid' END)
         FROM rel JOIN pg_index i ON i.indexrelid = rel.oid",
    ),
    (
        "views",
        "SELECT format('definition of %s %s', kind, name), concat_ws(' ', pg_get_viewdef(oid),
            'options ' || (SELECT string_agg(o, ',' ORDER BY o) FROM unnest(reloptions) o), CASE WHEN NOT relispopulated THEN 'empty' END)
         FROM rel WHERE relkind IN ('v', 'm')",
    ),
    (
        "rules",
        "SELECT format('rule %I on %s', rulename, name), pg_get_ruledef(r.oid) || ' ' || ev_enabled::text
         FROM pg_rewrite r JOIN rel ON rel.oid = ev_class WHERE rulename <> '_RETURN'",
    ),
    (
        "triggers",
        "SELECT format('trigger %I on %s', tgname, name), pg_get_triggerdef(t.oid) || ' enabled ' || tgenabled::text
         FROM pg_trigger t JOIN rel ON rel.oid = tgrelid WHERE NOT tgisinternal",
    ),
    (
        "policies",
        "SELECT format('policy %I on %s', polname, name), concat_ws(' ', polcmd::text,
            CASE WHEN polpermissive THEN 'permissive' ELSE 'restrictive' END,
            'to ' || (SELECT string_agg(coalesce(rolname, 'public'), ',' ORDER BY rolname) FROM unnest(polroles) u LEFT JOIN pg_roles ON oid = u),
            'using ' || pg_get_expr(polqual, polrelid), 'check ' || pg_get_expr(polwithcheck, polrelid))
         FROM pg_policy JOIN rel ON rel.oid = polrelid",
    ),
    ("functions", "SELECT kind || ' ' || name, pg_get_functiondef(oid) FROM proc WHERE prokind <> 'a'"),
    (
        "aggregates",
        "SELECT kind || ' ' || name, concat_ws(' ', aggtransfn::text, aggfinalfn::text, aggcombinefn::text, aggserialfn::text,
            aggdeserialfn::text, aggmtransfn::text, aggminvtransfn::text, aggmfinalfn::text, aggfinalmodify::text,
            format_type(aggtranstype, NULL), aggkind::text, aggsortop::regoperator::text, agginitval, proparallel::text)
         FROM proc JOIN pg_aggregate ON aggfnoid = proc.oid",
    ),
    (
        "types",
        "SELECT kind || ' ' || name, concat_ws(' ', typtype::text,
            'labels ' || (SELECT string_agg(quote_literal(enumlabel), ',' ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = typ.oid),
            'base ' || format_type(nullif(typbasetype, 0), typtypmod), CASE WHEN typnotnull THEN 'not null' END, 'default ' || typdefault,
            'subtype ' || (SELECT format_type(rngsubtype, NULL) FROM pg_range WHERE rngtypid = typ.oid),
            'input ' || CASE typtype WHEN 'b' THEN typinput::text END)
         FROM typ",
    ),
    (
        // No version: a restore brings the one of its server.
        "extensions",
        "SELECT format('extension %I', extname), 'in schema ' || quote_ident(nspname)
         FROM pg_extension JOIN pg_namespace s ON s.oid = extnamespace WHERE extname <> 'plpgsql'",
    ),
    ("statistics", "SELECT format('statistics %s.%I', ns.name, stxname), pg_get_statisticsobjdef(s.oid) FROM pg_statistic_ext s JOIN ns ON ns.oid = stxnamespace"),
    (
        "event triggers",
        "SELECT format('event trigger %I', evtname), concat_ws(' ', evtevent, evtfoid::regprocedure::text, evtenabled::text, evttags::text)
         FROM pg_event_trigger",
    ),
    (
        "publications",
        "SELECT format('publication %I', pubname), concat_ws(' ', puballtables, pubinsert, pubupdate, pubdelete, pubtruncate, pubviaroot,
            (SELECT string_agg(prrelid::regclass::text, ',' ORDER BY prrelid::regclass::text) FROM pg_publication_rel WHERE prpubid = p.oid))
         FROM pg_publication p",
    ),
    (
        // Kinds that few databases have: that they are there, under their name.
        "other objects",
        "SELECT i.type || ' ' || i.identity, '' FROM (
            SELECT 'pg_collation'::regclass AS class, oid, collnamespace AS nsp FROM pg_collation
            UNION ALL SELECT 'pg_conversion'::regclass, oid, connamespace FROM pg_conversion
            UNION ALL SELECT 'pg_operator'::regclass, oid, oprnamespace FROM pg_operator
            UNION ALL SELECT 'pg_opclass'::regclass, oid, opcnamespace FROM pg_opclass
            UNION ALL SELECT 'pg_ts_config'::regclass, oid, cfgnamespace FROM pg_ts_config
            UNION ALL SELECT 'pg_ts_dict'::regclass, oid, dictnamespace FROM pg_ts_dict
            UNION ALL SELECT 'pg_cast'::regclass, oid, NULL FROM pg_cast WHERE oid >= 16384
            UNION ALL SELECT 'pg_foreign_server'::regclass, oid, NULL FROM pg_foreign_server
            UNION ALL SELECT 'pg_foreign_data_wrapper'::regclass, oid, NULL FROM pg_foreign_data_wrapper
         ) o CROSS JOIN LATERAL pg_identify_object(o.class, o.oid, 0) i
         WHERE (nsp IS NULL OR nsp IN (SELECT oid FROM ns)) AND (o.oid, o.class::oid) NOT IN (SELECT objid, classid FROM member)",
    ),
    (
        "comments",
        "SELECT format('comment on %s %s', i.type, i.identity), description
         FROM pg_description d CROSS JOIN LATERAL pg_identify_object(classoid, objoid, objsubid) i
         WHERE (objoid >= 16384 OR (classoid = 'pg_namespace'::regclass AND objoid IN (SELECT oid FROM ns)))
           AND (objoid, classoid) NOT IN (SELECT objid, classid FROM member)
           AND NOT (classoid = 'pg_extension'::regclass)
         UNION ALL SELECT 'comment on database', description FROM pg_shdescription
         WHERE classoid = 'pg_database'::regclass AND objoid = (SELECT oid FROM pg_database WHERE datname = current_database())
         UNION ALL SELECT format('comment on role %I', rolname), description FROM pg_shdescription JOIN pg_roles r ON r.oid = objoid
         WHERE classoid = 'pg_authid'::regclass AND rolname !~ '^pg_'",
    ),
    (
        "owners",
        "SELECT 'owner of ' || name, pg_get_userbyid(owner) FROM (
            SELECT kind || ' ' || name AS name, relowner AS owner FROM rel WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
            UNION ALL SELECT kind || ' ' || name, proowner FROM proc UNION ALL SELECT kind || ' ' || name, typowner FROM typ
            UNION ALL SELECT 'schema ' || name, nspowner FROM ns
            UNION ALL SELECT 'database', datdba FROM pg_database WHERE datname = current_database()
         ) owned",
    ),
    (
        "database",
        "SELECT 'database encoding', concat_ws(' ', pg_encoding_to_char(encoding), datcollate, datctype)
         FROM pg_database WHERE datname = current_database()
         UNION ALL SELECT 'settings of ' || CASE WHEN setdatabase <> 0 THEN 'database' || CASE WHEN setrole <> 0 THEN ' for ' ELSE '' END ELSE '' END
            || CASE WHEN setrole <> 0 THEN 'role ' || quote_ident(pg_get_userbyid(setrole)) ELSE '' END,
            (SELECT string_agg(s, ', ' ORDER BY s) FROM unnest(setconfig) s)
         FROM pg_db_role_setting WHERE setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))",
    ),
    (
        "roles",
        "SELECT format('role %I', rolname), concat_ws(' ', CASE WHEN rolsuper THEN 'superuser' END, CASE WHEN rolinherit THEN 'inherit' END,
            CASE WHEN rolcreaterole THEN 'createrole' END, CASE WHEN rolcreatedb THEN 'createdb' END, CASE WHEN rolcanlogin THEN 'login' END,
            CASE WHEN rolreplication THEN 'replication' END, CASE WHEN rolbypassrls THEN 'bypassrls' END,
            'connection limit ' || rolconnlimit, 'valid until ' || rolvaliduntil)
         FROM pg_roles WHERE rolname !~ '^pg_'",
    ),
    (
        "memberships",
        "SELECT format('membership of %I in %I', m.rolname, r.rolname), CASE WHEN bool_or(admin_option) THEN 'with admin option' ELSE 'plain' END
         FROM pg_auth_members a JOIN pg_roles r ON r.oid = roleid JOIN pg_roles m ON m.oid = member
         GROUP BY m.rolname, r.rolname",
    ),
];

/// Only whether a role has a password: verifiers are salted, so that equal passwords differ in them. Needs a superuser.
pub(super) const PASSWORDS: &str = "SELECT format('password of role %I', rolname),
    CASE WHEN rolpassword IS NULL THEN 'none' ELSE 'set' END FROM pg_authid WHERE rolname !~ '^pg_'";

/// Name, how many privileges, the privileges. An object without a list has its kind's default one, which a restore may spell out.
pub(super) const GRANTS: &str = "
SELECT format('grant on %s to %s', acl.name, coalesce(quote_ident(grantee.rolname), 'public')), count(*),
       string_agg(privilege_type || CASE WHEN is_grantable THEN '*' ELSE '' END || ' by ' || grantor.rolname, ', '
                  ORDER BY privilege_type, grantor.rolname)
FROM (
    SELECT kind || ' ' || name AS name, coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::\"char\", relowner)) AS list
    FROM rel WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
    UNION ALL SELECT format('column %s.%I', rel.name, attname), attacl FROM rel JOIN pg_attribute ON attrelid = rel.oid
    WHERE attacl IS NOT NULL AND NOT attisdropped
    UNION ALL SELECT kind || ' ' || name, coalesce(proacl, acldefault('f', proowner)) FROM proc
    UNION ALL SELECT kind || ' ' || name, coalesce(typacl, acldefault('T', typowner)) FROM typ
    UNION ALL SELECT 'schema ' || name, coalesce(nspacl, acldefault('n', nspowner)) FROM ns
    UNION ALL SELECT 'database', coalesce(datacl, acldefault('d', datdba)) FROM pg_database WHERE datname = current_database()
    UNION ALL SELECT 'large object ' || oid, coalesce(lomacl, acldefault('L', lomowner)) FROM pg_largeobject_metadata
    UNION ALL SELECT format('future %s of %I%s', CASE defaclobjtype WHEN 'r' THEN 'tables' WHEN 'S' THEN 'sequences' WHEN 'f' THEN 'functions'
        WHEN 'T' THEN 'types' ELSE 'schemas' END, pg_get_userbyid(defaclrole), ' in schema ' || quote_ident(nspname)), defaclacl
    FROM pg_default_acl LEFT JOIN pg_namespace s ON s.oid = defaclnamespace
) acl CROSS JOIN LATERAL aclexplode(acl.list) entry
LEFT JOIN pg_roles grantee ON grantee.oid = entry.grantee LEFT JOIN pg_roles grantor ON grantor.oid = entry.grantor
GROUP BY 1";

/// Name, the sequence as SQL, its parameters.
pub(super) const SEQUENCES: &str = "
SELECT 'sequence ' || name, name, concat_ws(' ', format_type(seqtypid, NULL), 'start', seqstart, 'increment', seqincrement,
    'min', seqmin, 'max', seqmax, 'cache', seqcache, CASE WHEN seqcycle THEN 'cycle' END,
    (SELECT format('owned by %s.%I', refobjid::regclass, attname) FROM pg_depend d JOIN pg_attribute a ON attrelid = refobjid AND attnum = refobjsubid
     WHERE d.classid = 'pg_class'::regclass AND d.objid = rel.oid AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')))
FROM rel JOIN pg_sequence ON seqrelid = rel.oid ORDER BY 1";

/// Name, name as SQL, columns as quoted names, their types, primary key's columns (from 0), bytes on disk, whether no log holds
/// it, in the order of names.
pub(super) const TABLES: &str = "
SELECT CASE relkind WHEN 'm' THEN 'materialized view ' ELSE 'table ' END || name, name,
    coalesce(array_agg(quote_ident(attname) ORDER BY attnum) FILTER (WHERE attname IS NOT NULL), '{}'),
    coalesce(array_agg(atttypid ORDER BY attnum) FILTER (WHERE attname IS NOT NULL), '{}'),
    coalesce((SELECT array_agg((SELECT count(*) FROM pg_attribute b WHERE b.attrelid = rel.oid AND b.attnum > 0 AND b.attnum < k
                                AND NOT b.attisdropped)::int4 ORDER BY place)
     FROM pg_index CROSS JOIN LATERAL unnest(indkey::int2[]) WITH ORDINALITY u(k, place) WHERE indrelid = rel.oid AND indisprimary), '{}'),
    pg_table_size(rel.oid), relpersistence = 'u'
FROM rel LEFT JOIN pg_attribute a ON a.attrelid = rel.oid AND attnum > 0 AND NOT attisdropped
WHERE relkind = 'r' OR (relkind = 'm' AND relispopulated) GROUP BY rel.oid, relkind, name, relpersistence ORDER BY 1";

pub(super) const LARGE_OBJECTS: &str =
    "SELECT oid, pg_get_userbyid(lomowner) FROM pg_largeobject_metadata ORDER BY oid";

/// What older servers lack or spell otherwise: the first version (`server_version_num`) that needs no change, the text, and
/// what stands in its place before it. Before 12, `*` leaves the oid out.
const OLDER: &[(i32, &str, &str)] = &[
    (120_000, "AS MATERIALIZED", "AS"),
    (120_000, "SELECT c.*", "SELECT c.oid, c.*"),
    (120_000, "SELECT p.*", "SELECT p.oid, p.*"),
    (120_000, "SELECT t.*", "SELECT t.oid, t.*"),
    (120_000, "CASE attgenerated WHEN '' THEN 'default ' ELSE 'generated ' END", "'default '"),
    (130_000, "pubtruncate, pubviaroot,", "pubtruncate,"),
];

/// A query of this file as a server of that version understands it, together with what goes before it.
pub(super) fn query(version: i32, sql: &str) -> String {
    let older = OLDER.iter().filter(|(first, ..)| version < *first);
    older.fold(format!("{PRELUDE}{sql}"), |sql, (_, text, instead)| sql.replace(text, instead))
}

/// An expression as it looks after a dump and restore. `status IN ('a', 'b')` on a `varchar` column is first shown as a
/// cast of an array and, once restored from that text, as an array of casts: both lose their casts and parentheses here.
pub(super) fn settled(definition: &str) -> String {
    if !(definition.contains("ARRAY[") && definition.contains("::character varying")) {
        return definition.to_owned();
    }
    const NOISE: [&str; 4] = ["::character varying[]", "::character varying", "::text[]", "::text"];
    let bare = NOISE.iter().fold(definition.to_owned(), |text, noise| text.replace(noise, ""));
    bare.replace(['(', ')'], "")
}

#[cfg(test)]
mod tests {
    use super::settled;

    #[test]
    fn a_list_of_varchar_values_reads_the_same_before_and_after_a_restore() {
        let before =
            "CHECK (((status)::text = ANY ((ARRAY['new'::character varying, 'done'::character varying])::text[])))";
        let after = "CHECK (((status)::text = ANY (ARRAY[('new'::character varying)::text, ('done'::character varying)::text])))";
        assert_eq!(settled(before), settled(after));
        assert_ne!(settled(before), settled(&before.replace("done", "gone")));
    }

    #[test]
    fn other_definitions_keep_every_character() {
        let definition = "CHECK (((a + b) * c) > 0)";
        assert_eq!(settled(definition), definition);
    }
}

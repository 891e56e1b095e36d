//! Which types have a binary form that is the same in every database.

use std::collections::BTreeMap;

use tokio_postgres::Client;

use super::Error;

/// From here on OIDs are given out by each database as objects are made (`FirstNormalObjectId`).
const FIRST_OWN_OID: u32 = 16384;

/// What of `pg_type` decides it.
#[derive(Debug, Clone, Default)]
struct Type {
    kind: i8,
    element: u32,
    base: u32,
    subtype: u32,
    has_binary_form: bool,
    /// A `reg...` type: an OID in the guise of a name.
    names_an_object: bool,
}

/// The types of one database.
#[derive(Debug)]
pub(super) struct Types(BTreeMap<u32, Type>);

impl Types {
    pub(super) async fn read(client: &Client) -> Result<Self, Error> {
        const READ: &str = "
            SELECT t.oid, t.typtype, CASE WHEN t.typcategory = 'A' THEN t.typelem ELSE 0::oid END, t.typbasetype,
                   coalesce(r.rngsubtype, m.rngsubtype, 0::oid), t.typsend <> 0::oid,
                   t.typnamespace = 'pg_catalog'::regnamespace AND t.typname LIKE 'reg%'
            FROM pg_type t LEFT JOIN pg_range r ON r.rngtypid = t.oid
            LEFT JOIN pg_range m ON m.rngmultitypid = t.oid";
        // Multiranges came with 14.
        const BEFORE_14: &str = "
            SELECT t.oid, t.typtype, CASE WHEN t.typcategory = 'A' THEN t.typelem ELSE 0::oid END, t.typbasetype,
                   coalesce(r.rngsubtype, 0::oid), t.typsend <> 0::oid,
                   t.typnamespace = 'pg_catalog'::regnamespace AND t.typname LIKE 'reg%'
            FROM pg_type t LEFT JOIN pg_range r ON r.rngtypid = t.oid";
        let has_multiranges = "SELECT current_setting('server_version_num')::int >= 140000";
        let doing = || Error::postgres("read the types");
        let multiranges: bool = client.query_one(has_multiranges, &[]).await.map_err(doing())?.get(0);
        let rows = client.query(if multiranges { READ } else { BEFORE_14 }, &[]).await.map_err(doing())?;
        let types = rows.iter().map(|row| {
            let found = Type {
                kind: row.get(1),
                element: row.get(2),
                base: row.get(3),
                subtype: row.get(4),
                has_binary_form: row.get(5),
                names_an_object: row.get(6),
            };
            (row.get(0), found)
        });
        Ok(Self(types.collect()))
    }

    /// Whether the binary form of a value holds an OID that another database gives to something else (arrays and rows
    /// name the types of what they hold), or there is none: then the text form, exact too, is digested.
    pub(super) fn needs_text(&self, oid: u32) -> bool {
        let Some(known) = self.0.get(&oid) else { return true };
        if !known.has_binary_form || known.names_an_object {
            return true;
        }
        match known.kind as u8 {
            b'c' => true,
            b'd' => self.needs_text(known.base),
            b'r' | b'm' => self.needs_text(known.subtype),
            _ if known.element != 0 => known.element >= FIRST_OWN_OID || self.needs_text(known.element),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: u8) -> Type {
        Type { kind: kind as i8, has_binary_form: true, ..Type::default() }
    }

    #[test]
    fn what_holds_oids_of_its_own_database_is_read_as_text() {
        let (int, int_array, enumeration, enums, domain, row, range, regclass) =
            (23, 1007, 20000, 20001, 20002, 20003, 20004, 2205);
        let types = Types(BTreeMap::from([
            (int, of(b'b')),
            (int_array, Type { element: int, ..of(b'b') }),
            (enumeration, of(b'e')),
            (enums, Type { element: enumeration, ..of(b'b') }),
            (domain, Type { base: enums, ..of(b'd') }),
            (row, of(b'c')),
            (range, Type { subtype: int, ..of(b'r') }),
            (regclass, Type { names_an_object: true, ..of(b'b') }),
        ]));
        let as_text: Vec<u32> = types.0.keys().copied().filter(|oid| types.needs_text(*oid)).collect();
        assert_eq!(as_text, [regclass, enums, domain, row]);
        assert!(
            !types.needs_text(int)
                && !types.needs_text(range)
                && !types.needs_text(int_array)
                && !types.needs_text(enumeration)
        );
        assert!(types.needs_text(99999), "an unknown type is read as text");
    }
}

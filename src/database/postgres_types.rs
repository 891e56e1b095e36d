//! Which types have a binary form that is the same in every database, and how a server hashes a value exactly.

use std::collections::BTreeMap;

use tokio_postgres::Client;

use super::Error;

/// From here on OIDs are given out by each database as objects are made (`FirstNormalObjectId`).
pub(super) const FIRST_OWN_OID: u32 = 16384;

const TEXT: u32 = 25;
const VARCHAR: u32 = 1043;
/// bool, bytea, "char", smallint, integer, macaddr8, macaddr, date, uuid: at most 32 bits, or hashed byte by byte.
const HASHED_BIT_BY_BIT: [u32; 9] = [16, 17, 18, 21, 23, 774, 829, 1082, 2950];

/// What of `pg_type` decides it.
#[derive(Debug, Clone, Default)]
struct Type {
    kind: i8,
    element: u32,
    base: u32,
    subtype: u32,
    /// The function that makes the binary form, as SQL; empty where there is none.
    send: String,
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
                   coalesce(r.rngsubtype, m.rngsubtype, 0::oid), CASE WHEN t.typsend <> 0::oid THEN t.typsend::regproc::text ELSE '' END,
                   t.typnamespace = 'pg_catalog'::regnamespace AND t.typname LIKE 'reg%'
            FROM pg_type t LEFT JOIN pg_range r ON r.rngtypid = t.oid
            LEFT JOIN pg_range m ON m.rngmultitypid = t.oid";
        // Multiranges came with 14.
        const BEFORE_14: &str = "
            SELECT t.oid, t.typtype, CASE WHEN t.typcategory = 'A' THEN t.typelem ELSE 0::oid END, t.typbasetype,
                   coalesce(r.rngsubtype, 0::oid), CASE WHEN t.typsend <> 0::oid THEN t.typsend::regproc::text ELSE '' END,
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
                send: row.get(5),
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
        if known.send.is_empty() || known.names_an_object {
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

    /// A column as something whose hash by the server covers every bit that a binary COPY of it shows.
    ///
    /// Few types' own hashes do: equal numbers hash alike whatever their scale (`1.0`, `1.00`), as do `-0.0` and `0.0`, '1 month'
    /// and '30 days', arrays of other dimensions; and bigints and timestamps are folded into 32 bits first. All these are
    /// hashed as the bytes of their binary form.
    pub(super) fn hashable(&self, column: &str, oid: u32) -> String {
        match oid {
            _ if self.needs_text(oid) => format!("({column}::pg_catalog.text COLLATE pg_catalog.\"C\")"),
            // Under another collation different strings may be equal.
            TEXT | VARCHAR => format!("({column} COLLATE pg_catalog.\"C\")"),
            _ if HASHED_BIT_BY_BIT.contains(&oid) => column.to_owned(),
            _ => format!("{}({column})", self.0.get(&oid).map_or("", |known| &known.send)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: u8) -> Type {
        Type { kind: kind as i8, send: "send".to_owned(), ..Type::default() }
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

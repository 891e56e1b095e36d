//! A server's own sums over the rows of a table (see [`crate::fingerprint::server`]).

use tokio_postgres::Client;

use super::Error;
use super::postgres_types::FIRST_OWN_OID;
use crate::fingerprint::server::ServerSum;

/// The first version with `hash_record_extended`.
pub(super) const HASHES_ROWS: i32 = 140_000;

const SEED: i64 = 0x6a09_e667_f3bc_c908;

/// One server in one snapshot.
pub(super) struct ServerHash<'a> {
    client: &'a Client,
    encoding: String,
}

impl<'a> ServerHash<'a> {
    pub(super) async fn new(client: &'a Client) -> Result<Self, Error> {
        let row = client.query_one("SELECT pg_catalog.getdatabaseencoding()::text", &[]).await;
        let encoding = row.map_err(Error::postgres("ask for the encoding"))?.get(0);
        Ok(Self { client, encoding })
    }

    /// `None` where the server cannot do it: then every row is read. The snapshot lives on.
    pub(super) async fn sum(&self, table: &str, columns: &[(String, u32)]) -> Result<Option<ServerSum>, Error> {
        if columns.is_empty() {
            return Ok(None);
        }
        let (row, types): (Vec<_>, Vec<_>) = columns.iter().cloned().unzip();
        let row = row.join(", ");
        // The setting is undone with the savepoint.
        self.run("SAVEPOINT hash; SET LOCAL max_parallel_workers_per_gather TO DEFAULT").await?;
        match self.client.query_one(&statement(table, &row), &[]).await {
            Ok(found) => {
                self.run("SET LOCAL max_parallel_workers_per_gather = 0; RELEASE SAVEPOINT hash").await?;
                let of = format!("{}: {row}: {}", self.encoding, built_in(&types));
                let rows: i64 = found.get(0);
                Ok(Some(ServerSum { of, rows: rows.unsigned_abs(), sum: found.get(1) }))
            }
            Err(error) if error.as_db_error().is_some() => {
                tracing::debug!(%error, table, "the server does not hash the rows");
                self.run("ROLLBACK TO SAVEPOINT hash").await?;
                Ok(None)
            }
            Err(error) => Err(Error::postgres(format!("hash the rows of {table}"))(error)),
        }
    }

    async fn run(&self, sql: &str) -> Result<(), Error> {
        self.client.batch_execute(sql).await.map_err(Error::postgres("keep the snapshot"))
    }
}

/// OIDs of the types that have the same one everywhere.
fn built_in(types: &[u32]) -> String {
    let named = types.iter().map(|&oid| if oid < FIRST_OWN_OID { oid.to_string() } else { "own".to_owned() });
    named.collect::<Vec<_>>().join(",")
}

fn statement(table: &str, row: &str) -> String {
    let hash = format!("pg_catalog.hash_record_extended(ROW({row}), {SEED})::pg_catalog.text COLLATE pg_catalog.\"C\"");
    let sum = format!("coalesce(sum(pg_catalog.hashtextextended({hash}, {SEED})), 0)::pg_catalog.text");
    format!("SELECT count(*), {sum} FROM ONLY {table}")
}

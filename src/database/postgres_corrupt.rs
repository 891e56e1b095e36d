//! Logical corruption: a database that answers, and holds what a mistaken statement or a bad migration leaves of its rows.

use super::Error;
use super::postgres::connect;
use crate::probe::DatabaseTarget;

/// Of every table the first half of its rows, and the one row of a table that has no more. Foreign keys and triggers look away, as
/// they would have to for such a thing to happen.
const CORRUPT: &str = "
SET session_replication_role = replica;
DO $corrupt$
DECLARE hit text;
BEGIN
    FOR hit IN
        SELECT oid::regclass FROM pg_class
        WHERE relkind = 'r' AND relpersistence <> 't' AND relnamespace::regnamespace::text !~ '^(pg_|information_schema$)'
    LOOP
        EXECUTE format('DELETE FROM ONLY %1$s WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM ONLY %1$s ORDER BY ctid LIMIT (SELECT (count(*) + 1) / 2 FROM ONLY %1$s)))', hit);
    END LOOP;
END
$corrupt$";

/// Takes half of the rows of every table away. Errs for whoever is no superuser.
pub async fn corrupt(target: &DatabaseTarget) -> Result<(), Error> {
    let session = connect(target).await?;
    session.batch_execute(CORRUPT).await.map_err(Error::postgres("take half of every table's rows away"))
}

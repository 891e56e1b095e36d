//! Logical corruption: a database that answers, and holds what a mistaken statement leaves of its documents.

use mongodb::bson::{Bson, Document, doc};

use super::Error;
use super::mongo::Session;
use crate::probe::DatabaseTarget;

/// So many keys are named one by one; of more the first and the last are.
const NAMED: usize = 500;

/// Takes the first half of the documents of each collection away, in the order of their keys, and the one of a collection that has no
/// more. No server deletes a number of documents, so their keys say which.
pub(super) async fn corrupt(target: &DatabaseTarget) -> Result<(), Error> {
    let session = Session::open(target).await?;
    for listed in session.collections().await?.iter().filter(|listed| listed.kind == "collection") {
        let name = &listed.name;
        let keys = first_half(&session, name).await?;
        let mut gone = 0;
        // Only keys of one type compare with each other.
        for run in keys.chunk_by(|one, other| one.element_type() == other.element_type()) {
            let deleted = session.collection(name).delete_many(with_keys(run)).await;
            gone += deleted.map_err(Error::mongo(format!("delete from {name}")))?.deleted_count;
        }
        if gone != keys.len() as u64 {
            let what = format!("{gone} of {} documents of {name} were deleted", keys.len());
            return Err(Error::NotStored { what });
        }
    }
    Ok(())
}

fn with_keys(run: &[Bson]) -> Document {
    match run {
        [first, .., last] if run.len() > NAMED => doc! { "_id": { "$gte": first, "$lte": last } },
        _ => doc! { "_id": { "$in": run } },
    }
}

async fn first_half(session: &Session, name: &str) -> Result<Vec<Bson>, Error> {
    let failed = || Error::mongo(format!("read the keys of {name}"));
    let keys = session.collection(name).clone_with_type::<Document>();
    let found = keys.find(doc! {}).projection(doc! { "_id": 1 }).sort(doc! { "_id": 1 }).await;
    let mut cursor = found.map_err(failed())?;
    let mut all = Vec::new();
    while cursor.advance().await.map_err(failed())? {
        all.extend(cursor.deserialize_current().map_err(failed())?.remove("_id"));
    }
    all.truncate(all.len().div_ceil(2));
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_keys_are_said_by_their_ends() {
        let keys: Vec<Bson> = (0..1000).map(Bson::Int64).collect();
        assert_eq!(with_keys(&keys), doc! { "_id": { "$gte": 0i64, "$lte": 999i64 } });
        assert_eq!(with_keys(&keys[..2]), doc! { "_id": { "$in": [0i64, 1i64] } });
    }
}

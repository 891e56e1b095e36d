//! Fingerprints of MongoDB databases, from the client's side.
//!
//! What is digested of a document is its BSON as the server hands it over (bsonspec.org, version 1.1), and nothing is read into it:
//! the order of its fields, the type of each number and the spelling of each name count, as they do for an application. A value
//! has one form in BSON, so documents that are equal in all of this have equal bytes, whichever server stored them.
//!
//! There is no snapshot over several collections without a replica set: collections that are written meanwhile are to be named as live.

use mongodb::bson::Document;

use super::Error;
use super::mongo::{Listed, Session, shown, text};
use super::mongo_ledger::LIVE_COLLECTIONS;
use crate::fingerprint::rows::RowsDigest;
use crate::fingerprint::{Fingerprint, Item};
use crate::probe::DatabaseTarget;

/// Fingerprints the database as one user sees it. `except`: collections whose documents change while a drill runs; their
/// definitions and indexes still count, and those of the ledger's are always left out.
pub(super) async fn fingerprint(target: &DatabaseTarget, except: &[String]) -> Result<Fingerprint, Error> {
    let session = Session::open(target).await?;
    let mut fingerprint = Fingerprint::default();
    for listed in session.collections().await? {
        let is_live = LIVE_COLLECTIONS.contains(&listed.name.as_str()) || except.contains(&listed.name);
        definition(&listed, &mut fingerprint);
        if listed.kind == "view" {
            continue;
        }
        indexes(&session, &listed.name, &mut fingerprint).await?;
        if !is_live {
            documents(&session, &listed.name, &mut fingerprint).await?;
        }
    }
    users(&session, &mut fingerprint).await?;
    Ok(fingerprint)
}

fn definition(listed: &Listed, fingerprint: &mut Fingerprint) {
    let Listed { name, kind, options } = listed;
    let options = if options.is_empty() { "no options".to_owned() } else { shown(sorted(options)) };
    fingerprint.items.insert(format!("options of {kind} {name}"), Item::of_text(1, &options));
}

/// The order of options is nobody's doing.
fn sorted(document: &Document) -> Document {
    let mut fields: Vec<_> = document.clone().into_iter().collect();
    fields.sort_by(|(one, _), (other, _)| one.cmp(other));
    fields.into_iter().collect()
}

async fn indexes(session: &Session, collection: &str, fingerprint: &mut Fingerprint) -> Result<(), Error> {
    for index in session.indexes(collection).await? {
        let name = text(&index, "name");
        // Of the index's own format, and of where it is: a restore into a newer server changes both.
        let kept = index.into_iter().filter(|(field, _)| !["v", "ns", "name"].contains(&field.as_str()));
        let item = Item::of_text(1, &shown(sorted(&kept.collect())));
        fingerprint.items.insert(format!("index {name} of {collection}"), item);
    }
    Ok(())
}

async fn documents(session: &Session, collection: &str, fingerprint: &mut Fingerprint) -> Result<(), Error> {
    let failed = || Error::mongo(format!("read the documents of {collection}"));
    let mut digest = RowsDigest::new(vec!["_id".to_owned()]);
    let mut cursor = session.documents(collection).await?;
    while cursor.advance().await.map_err(failed())? {
        let document = cursor.current();
        digest.add(key(document.as_bytes()), document.as_bytes());
    }
    digest.finish(format!("collection {collection}"), fingerprint);
    Ok(())
}

/// The bytes of the `_id` with its type, or of the whole document where it has none.
fn key(document: &[u8]) -> &[u8] {
    const LENGTH: usize = 4;
    let Ok(raw) = mongodb::bson::RawDocument::from_bytes(document) else { return document };
    let mut at = LENGTH;
    for element in raw.iter_elements().map_while(Result::ok) {
        // A byte for the type, the name and the zero behind it, the value.
        let end = at + 1 + element.key().as_str().len() + 1 + element.size();
        if element.key().as_str() == "_id" {
            return document.get(at..end).unwrap_or(document);
        }
        at = end;
    }
    document
}

/// Who may log in to the database or to the whole server, and as what.
async fn users(session: &Session, fingerprint: &mut Fingerprint) -> Result<(), Error> {
    for user in session.users().await? {
        let mut roles: Vec<String> = user.get_array("roles").into_iter().flatten().cloned().map(shown).collect();
        roles.sort();
        let item = Item::of_text(1, &format!("roles {}", roles.join(", ")));
        fingerprint.items.insert(format!("user {} of {}", text(&user, "user"), text(&user, "db")), item);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use mongodb::bson::{Bson, RawDocumentBuf, doc};
    use proptest::prelude::*;

    fn raw(document: &Document) -> RawDocumentBuf {
        RawDocumentBuf::try_from(document).unwrap()
    }

    fn fingerprint_of(documents: &[Document]) -> Fingerprint {
        let mut digest = RowsDigest::new(vec!["_id".to_owned()]);
        for document in documents.iter().map(raw) {
            digest.add(key(document.as_bytes()), document.as_bytes());
        }
        let mut fingerprint = Fingerprint::default();
        digest.finish("collection people".to_owned(), &mut fingerprint);
        fingerprint
    }

    fn differences(before: &[Document], after: &[Document]) -> Vec<String> {
        fingerprint_of(before).differences(&fingerprint_of(after)).iter().map(ToString::to_string).collect()
    }

    fn documents() -> impl Strategy<Value = Vec<Document>> {
        let value = prop_oneof![
            any::<i32>().prop_map(Bson::Int32),
            any::<i64>().prop_map(Bson::Int64),
            ".{0,12}".prop_map(Bson::String),
            prop::collection::vec(any::<i32>(), 0..3).prop_map(Bson::from),
        ];
        let fields = prop::collection::vec(("[a-z]{1,6}", value), 0..5);
        prop::collection::vec(fields, 1..30).prop_map(|all| {
            let numbered = all.into_iter().enumerate().map(|(number, fields)| {
                let mut document = doc! { "_id": number as i64 };
                document.extend(fields);
                document
            });
            numbered.collect()
        })
    }

    proptest! {
        #[test]
        fn the_order_of_documents_does_not_matter(
            (one, other) in documents().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
        ) {
            prop_assert_eq!(fingerprint_of(&one), fingerprint_of(&other));
        }

        #[test]
        fn one_byte_of_one_document_is_seen(
            documents in documents(), chosen in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), bit in 0u32..8,
        ) {
            let before: Vec<Vec<u8>> = documents.iter().map(|document| raw(document).as_bytes().to_vec()).collect();
            let mut after = before.clone();
            let document = chosen.get_mut(&mut after);
            *at.get_mut(document) ^= 1u8 << bit;
            let digest = |documents: &[Vec<u8>]| {
                let mut digest = RowsDigest::new(vec!["_id".to_owned()]);
                documents.iter().for_each(|bytes| digest.add(key(bytes), bytes));
                let mut fingerprint = Fingerprint::default();
                digest.finish("collection people".to_owned(), &mut fingerprint);
                fingerprint.items
            };
            prop_assert_ne!(digest(&before), digest(&after));
        }

        #[test]
        fn a_document_is_known_by_its_id_wherever_that_stands(document in documents()) {
            for document in document {
                let mut moved = document.clone();
                let id = moved.remove("_id").unwrap();
                moved.insert("_id", id);
                let (first, last) = (raw(&document), raw(&moved));
                prop_assert_eq!(key(first.as_bytes()), key(last.as_bytes()));
            }
        }
    }

    #[test]
    fn what_happened_to_documents_is_counted_in_documents() {
        let before = [doc! { "_id": 1, "n": 1 }, doc! { "_id": 2, "n": 2 }, doc! { "_id": 3, "n": 3 }];
        let mut after = before.to_vec();
        after[1].insert("n", 5);
        after.remove(0);
        let expected = "collection people: 1 document missing, 1 document changed (2 documents, were 3)";
        assert_eq!(differences(&before, &after), [expected]);
        assert_eq!(differences(&before, &[]), ["collection people: 0 documents, were 3: 3 fewer"]);
    }

    #[test]
    fn the_type_of_a_number_and_the_order_of_fields_count() {
        let one = [doc! { "_id": 1, "a": 1, "b": 2 }];
        assert_eq!(differences(&one, &[doc! { "_id": 1, "a": 1i64, "b": 2 }]).len(), 1);
        assert_eq!(differences(&one, &[doc! { "_id": 1, "b": 2, "a": 1 }]).len(), 1);
        assert_eq!(differences(&one, &one), [""; 0]);
    }
}

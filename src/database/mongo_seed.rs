//! Fills a MongoDB database with the shapes that break restores. Same `rng`, same content.

use mongodb::bson::oid::ObjectId;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, DateTime, Document, RawDocumentBuf, doc};
use rand::seq::IndexedRandom;
use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::Error;
use super::mongo::Session;
use super::mongo_features::{self, Features};
use crate::probe::DatabaseTarget;

/// Documents of the collections that are there for their shape and not for their size.
const PEOPLE: i32 = 200;
const FEW: i32 = 60;
/// Random bytes of one document of the bulk collection.
const BULK: usize = 1000;
/// A document of the bulk collection: with its key, tag and title.
const BULK_DOCUMENT: u64 = 1100;
/// So many documents go with one command.
const BATCH: usize = 500;
/// GridFS's own, in bytes.
const CHUNK: usize = 255 << 10;
const TEXTS: [&str; 7] = [
    "plain words",
    "it's \"quoted\" \\ and {$escaped: 1}",
    "größer als Öl",
    "こんにちは世界",
    "مرحبا بالعالم",
    "tab\tnewline\ncarriage\rreturn",
    "e\u{301} é 👩‍👩‍👧 \u{202e}reversed",
];

/// Seeds the target's database, which must not have been seeded before. What the server does not have is left out, and named.
pub(super) async fn seed(target: &DatabaseTarget, bytes: u64, rng: u64) -> Result<Vec<String>, Error> {
    let features = mongo_features::find(target).await?;
    let seed = Seed { session: Session::open(target).await? };
    let mut rng = ChaCha8Rng::seed_from_u64(rng);
    seed.people(&features, &mut rng).await?;
    seed.shapes(&features).await?;
    seed.odd_names(&mut rng).await?;
    seed.kinds_of_collections(&features, &mut rng).await?;
    seed.bulk(bytes, &mut rng).await?;
    seed.files(&mut rng).await?;
    Ok(features.left_out.into_iter().collect())
}

struct Seed {
    session: Session,
}

impl Seed {
    /// Documents with documents in them, and every index that the server has.
    async fn people(&self, features: &Features, rng: &mut ChaCha8Rng) -> Result<(), Error> {
        let indexes = mongo_features::indexes().into_iter().filter(|(name, ..)| features.has(name));
        let indexes: Vec<Bson> = indexes
            .map(|(name, key, options)| {
                let mut index = doc! { "key": key, "name": format!("{name}, größer 'n'") };
                index.extend(options);
                index.into()
            })
            .collect();
        // Before the documents, so that each of them goes through every index.
        self.session.run("make people", doc! { "create": "people" }).await?;
        let create = doc! { "createIndexes": "people", "indexes": indexes };
        self.session.run("make the indexes of people", create).await?;
        let people = (1..=PEOPLE).map(|number| person(number, rng)).collect();
        self.insert("people", people).await
    }

    /// One document for each value that the server keeps, and one with all of them.
    async fn shapes(&self, features: &Features) -> Result<(), Error> {
        let values: Vec<_> = mongo_features::values().into_iter().filter(|(name, _)| features.has(name)).collect();
        let mut shapes: Vec<Document> =
            values.iter().map(|(name, value)| doc! { "_id": *name, "value": value.clone() }).collect();
        let all: Document = values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        shapes.push(doc! { "_id": "all", "in": all });
        self.insert("shapes", shapes).await
    }

    /// Keys and names that are legal and that scripts stumble over; a collection with nothing in it.
    async fn odd_names(&self, rng: &mut ChaCha8Rng) -> Result<(), Error> {
        let keys: [Bson; 9] = [
            "text".into(),
            "".into(),
            5.into(),
            1.5.into(),
            Bson::Int64(1 << 40),
            doc! { "shop": 1, "number": "7" }.into(),
            true.into(),
            Bson::Null,
            DateTime::from_millis(1_600_000_000_000).into(),
        ];
        let odd = keys.into_iter().map(|key| doc! { "_id": key, "said": pick(rng) }).collect();
        self.insert("Odd name, größer than 'usual'", odd).await?;
        // The same but for a key that the server draws elsewhere: only counting tells one from two.
        let twins = (0..4).map(|twin| doc! { "_id": object_id(rng), "same": twin / 2 }).collect();
        self.insert("orders.items", twins).await?;
        let upper = (0..3).map(|number| doc! { "_id": number, "case": "upper" }).collect();
        self.insert("ORDERS.items", upper).await?;
        self.session.run("make a collection with nothing in it", doc! { "create": "empty" }).await.map(drop)
    }

    async fn kinds_of_collections(&self, features: &Features, rng: &mut ChaCha8Rng) -> Result<(), Error> {
        for (name, options) in mongo_features::collections().into_iter().filter(|(name, _)| features.has(name)) {
            let mut create = doc! { "create": name };
            create.extend(options);
            self.session.run(format!("make the {name} collection"), create).await?;
            if name == "view" {
                continue;
            }
            let documents = (1..=FEW).map(|number| {
                let at = DateTime::from_millis(1_600_000_000_000 + i64::from(number) * 60_000);
                doc! { "_id": object_id(rng), "name": pick(rng), "at": at, "sensor": number % 3, "n": number }
            });
            self.insert(name, documents.collect()).await?;
        }
        Ok(())
    }

    /// About `bytes` of documents that do not compress.
    async fn bulk(&self, bytes: u64, rng: &mut ChaCha8Rng) -> Result<(), Error> {
        let count = (bytes / BULK_DOCUMENT).max(10);
        let mut batch = Vec::with_capacity(BATCH);
        for number in 1..=count {
            batch.push(doc! {
                "_id": i64::try_from(number).unwrap_or(i64::MAX),
                "tag": binary(BinarySubtype::Uuid, 16, rng),
                "title": pick(rng),
                "body": binary(BinarySubtype::Generic, BULK, rng),
            });
            if batch.len() == BATCH || number == count {
                self.insert("documents", std::mem::take(&mut batch)).await?;
            }
        }
        Ok(())
    }

    /// Uploads as GridFS lays them out (its specification's `files` and `chunks`), with dates and keys that another seed gives again.
    async fn files(&self, rng: &mut ChaCha8Rng) -> Result<(), Error> {
        const INDEXES: [(&str, &str, bool); 2] = [("filename", "uploadDate", false), ("files_id", "n", true)];
        for (collection, (one, other, unique)) in ["fs.files", "fs.chunks"].into_iter().zip(INDEXES) {
            let mut index = doc! { "key": { one: 1, other: 1 }, "name": format!("{one}_1_{other}_1") };
            if unique {
                index.insert("unique", true);
            }
            let create = doc! { "createIndexes": collection, "indexes": [index] };
            self.session.run(format!("make the index of {collection}"), create).await?;
        }
        for (number, length) in [0, 1, CHUNK, 3 * CHUNK + 17].into_iter().enumerate() {
            let (id, mut content) = (object_id(rng), vec![0; length]);
            rng.fill_bytes(&mut content);
            let chunks = content.chunks(CHUNK).enumerate().map(|(n, data)| {
                let data = Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes: data.to_vec() });
                doc! { "_id": object_id(rng), "files_id": id, "n": n as i32, "data": data }
            });
            self.insert("fs.chunks", chunks.collect()).await?;
            let file = doc! {
                "_id": id,
                "length": length as i64,
                "chunkSize": CHUNK as i32,
                "uploadDate": moment(rng),
                "filename": format!("{} {number}.png", pick(rng)),
                "metadata": { "room": "GENERAL", "digest": blake3::hash(&content).to_hex().to_string() },
            };
            self.insert("fs.files", vec![file]).await?;
        }
        Ok(())
    }

    async fn insert(&self, collection: &str, documents: Vec<Document>) -> Result<(), Error> {
        if documents.is_empty() {
            return Ok(());
        }
        let failed = || Error::mongo(format!("fill {collection}"));
        let raw: Result<Vec<_>, _> = documents.iter().map(RawDocumentBuf::try_from).collect();
        let raw = raw.map_err(|error| failed()(error.into()))?;
        self.session.collection(collection).insert_many(raw).await.map(drop).map_err(failed())
    }
}

fn person(number: i32, rng: &mut ChaCha8Rng) -> Document {
    let mut person = doc! {
        "_id": object_id(rng),
        "email": format!("Person{number}@Example.org"),
        "name": format!("{} {number}", pick(rng)),
        "plan": *["free", "team", "enterprise"].choose(rng).unwrap_or(&"free"),
        "score": rng.random_range(0..1_000_000),
        "balance": rng.random_range(-1.0e6..1.0e6),
        "joined": moment(rng),
        "until": DateTime::from_millis(4_102_444_800_000 + i64::from(number)),
        "about": pick(rng),
        "profile": { "city": pick(rng), "seen": [moment(rng), Bson::Null], "flags": { "a": true, "b": { "c": number } } },
        "rooms": [{ "id": object_id(rng), "unread": 3 }, { "id": object_id(rng), "unread": Bson::Null }],
        "tags": ["one", "with, comma", "", Bson::Null],
    };
    // Not there and there as null are not the same.
    match number % 3 {
        0 => drop(person.insert("nick", format!("nick{number}"))),
        1 => drop(person.insert("nick", Bson::Null)),
        _ => {}
    }
    person
}

fn pick(rng: &mut ChaCha8Rng) -> &'static str {
    TEXTS.choose(rng).copied().unwrap_or("")
}

fn object_id(rng: &mut ChaCha8Rng) -> ObjectId {
    let mut bytes = [0; 12];
    rng.fill_bytes(&mut bytes);
    ObjectId::from_bytes(bytes)
}

fn binary(subtype: BinarySubtype, length: usize, rng: &mut ChaCha8Rng) -> Bson {
    let mut bytes = vec![0; length];
    rng.fill_bytes(&mut bytes);
    Bson::Binary(Binary { subtype, bytes })
}

/// A moment between 1970 and 2033, in milliseconds, never the time of the seed.
fn moment(rng: &mut ChaCha8Rng) -> DateTime {
    DateTime::from_millis(rng.random_range(0..2_000_000_000_000))
}

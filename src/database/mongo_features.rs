//! What a MongoDB server has of that which a seed would use. It is asked, each thing by itself in a collection made for it: versions
//! differ, and what stands for mongod has less of it, and now and then takes something and forgets it.

use std::collections::BTreeSet;

use mongodb::bson::oid::ObjectId;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{
    Binary, Bson, DateTime, Decimal128, Document, JavaScriptCodeWithScope, RawDocumentBuf, Regex, Timestamp, doc,
};

use super::Error;
use super::mongo::{self, Session};
use crate::probe::DatabaseTarget;

const SCRATCH: &str = "redrill_try";

/// Whatever is there of values, of ways to make a collection and of indexes, by name; and what is not.
#[derive(Debug, Default)]
pub(super) struct Features {
    has: BTreeSet<&'static str>,
    /// `decimal128 values`, in the order of names.
    pub left_out: BTreeSet<String>,
}

impl Features {
    pub(super) fn has(&self, name: &str) -> bool {
        self.has.contains(name)
    }

    fn note(&mut self, name: &'static str, what: &str, is_there: bool) {
        match is_there {
            true => drop(self.has.insert(name)),
            false => drop(self.left_out.insert(format!("{name} {what}"))),
        }
    }
}

/// One value of each type that a document can have, and of those that are stored in more than one way.
pub(super) fn values() -> Vec<(&'static str, Bson)> {
    let binary = |subtype| Bson::Binary(Binary { subtype, bytes: (0..=255).collect() });
    let pattern = |pattern: &str, options: &str| {
        Some(Bson::RegularExpression(Regex { pattern: pattern.try_into().ok()?, options: options.try_into().ok()? }))
    };
    let values = [
        ("double", Some(Bson::Double(-1.5e-300))),
        ("negative zero", Some(Bson::Double(-0.0))),
        ("not-a-number", Some(Bson::Double(f64::NAN))),
        ("infinity", Some(Bson::Double(f64::INFINITY))),
        ("string", Some(Bson::String("größer \u{0}\n\"'\\ こんにちは \u{202e}e\u{301}".to_owned()))),
        ("empty string", Some(Bson::String(String::new()))),
        ("object", Some(Bson::Document(doc! { "a": { "b": { "c": [] } }, "empty": {} }))),
        ("array", Some(Bson::Array(vec![1.into(), "two".into(), doc! { "three": 3 }.into(), Bson::Null]))),
        ("nested array", Some(Bson::Array(vec![vec![1, 2].into(), Bson::Array(Vec::new())]))),
        ("binary", Some(binary(BinarySubtype::Generic))),
        ("user-defined binary", Some(binary(BinarySubtype::UserDefined(0x85)))),
        ("object id", Some(Bson::ObjectId(ObjectId::from_bytes([0x5a; 12])))),
        ("boolean", Some(Bson::Boolean(false))),
        ("date", Some(Bson::DateTime(DateTime::from_millis(1_577_880_061_123)))),
        ("date before 1970", Some(Bson::DateTime(DateTime::from_millis(-2_177_452_800_001)))),
        ("null", Some(Bson::Null)),
        ("regular expression", pattern("^gr(ö|oe)ße$", "im")),
        ("code", Some(Bson::JavaScriptCode("function () { return 1; }".to_owned()))),
        ("code with scope", Some(scoped("return x", doc! { "x": 1 }))),
        ("int32", Some(Bson::Int32(i32::MIN))),
        ("int64", Some(Bson::Int64(i64::MIN + 1))),
        ("timestamp", Some(Bson::Timestamp(Timestamp { time: 1_700_000_000, increment: 7 }))),
        ("decimal128", "1.10".parse::<Decimal128>().ok().map(Bson::Decimal128)),
        ("min key", Some(Bson::MinKey)),
        ("max key", Some(Bson::MaxKey)),
        ("symbol", Some(Bson::Symbol("old".to_owned()))),
        ("undefined", Some(Bson::Undefined)),
        ("dotted name", Some(Bson::Document(doc! { "a.b": 1 }))),
        ("dollar name", Some(Bson::Document(doc! { "$price": 1 }))),
        ("empty name", Some(Bson::Document(doc! { "": 1, " ": 2, "größe": 3, "ключ": 4 }))),
    ];
    values.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn scoped(code: &str, scope: Document) -> Bson {
    Bson::JavaScriptCodeWithScope(JavaScriptCodeWithScope { code: code.to_owned(), scope })
}

/// Ways to make a collection: what `create` is given. A view is one of `people`.
pub(super) fn collections() -> [(&'static str, Document); 5] {
    [
        // Far more than is put in: what is full would lose its first documents, now or when the server gets round to it.
        ("capped", doc! { "capped": true, "size": 16_777_216, "max": 10_000 }),
        ("validated", doc! { "validator": { "name": { "$type": "string" } }, "validationAction": "error" }),
        ("collated", doc! { "collation": { "locale": "de", "strength": 1 } }),
        ("view", doc! { "viewOn": "people", "pipeline": [{ "$match": { "plan": "free" } }] }),
        ("time series", doc! { "timeseries": { "timeField": "at", "metaField": "sensor" } }),
    ]
}

/// Indexes of `people`: their keys and options.
pub(super) fn indexes() -> [(&'static str, Document, Document); 8] {
    [
        ("plain", doc! { "profile.city": 1 }, doc! {}),
        ("unique", doc! { "email": 1 }, doc! { "unique": true }),
        ("compound", doc! { "plan": 1, "score": -1 }, doc! {}),
        // Of a moment that no drill lives to see: what expires would be missed.
        ("expiring", doc! { "until": 1 }, doc! { "expireAfterSeconds": 3600 }),
        ("sparse", doc! { "nick": 1 }, doc! { "sparse": true }),
        ("partial", doc! { "score": 1 }, doc! { "partialFilterExpression": { "score": { "$gt": 500_000 } } }),
        ("text", doc! { "about": "text" }, doc! { "default_language": "german" }),
        ("hashed", doc! { "name": "hashed" }, doc! {}),
    ]
}

/// Tries everything. The connection is made anew wherever a server hangs up instead of an answer.
pub(super) async fn find(target: &DatabaseTarget) -> Result<Features, Error> {
    let mut features = Features::default();
    let mut session = Session::open(target).await?;
    for (name, value) in values() {
        let is_there = keeps(&session, value).await?;
        features.note(name, "values", is_there == Tried::Kept);
        if is_there == Tried::HungUp {
            session = Session::open(target).await?;
        }
    }
    clear(&session).await?;
    for (name, options) in collections() {
        features.note(name, "collections", makes(&session, options).await?);
        clear(&session).await?;
    }
    for (name, key, options) in indexes() {
        features.note(name, "indexes", indexes_by(&session, key, options).await?);
        clear(&session).await?;
    }
    Ok(features)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tried {
    Kept,
    NotKept,
    HungUp,
}

/// Whether a value comes back as the bytes that it was.
async fn keeps(session: &Session, value: Bson) -> Result<Tried, Error> {
    let document = doc! { "_id": 1, "value": value };
    let written = RawDocumentBuf::try_from(&document).map_err(|error| Error::mongo("write BSON")(error.into()))?;
    let scratch = session.collection(SCRATCH);
    let tried = async {
        scratch.delete_many(doc! {}).await?;
        scratch.insert_one(&written).await?;
        scratch.find_one(doc! {}).await
    };
    Ok(match tried.await {
        Ok(read) if read.as_deref().map(|read| read.as_bytes()) == Some(written.as_bytes()) => Tried::Kept,
        Ok(_) => Tried::NotKept,
        Err(error) if mongo::is_disconnected(&error) => Tried::HungUp,
        Err(error) if mongo::code(&error).is_some() => Tried::NotKept,
        Err(error) => return Err(Error::mongo("try a value")(error)),
    })
}

/// Whether a collection is made with these options, and is listed with them.
async fn makes(session: &Session, options: Document) -> Result<bool, Error> {
    let mut create = doc! { "create": SCRATCH };
    create.extend(options.clone());
    if !answers("make a collection", session.try_command(create).await)? {
        return Ok(false);
    }
    let listed = session.collections().await?;
    let listed = listed.iter().find(|listed| listed.name == SCRATCH);
    Ok(listed.is_some_and(|listed| options.keys().all(|option| listed.options.contains_key(option))))
}

/// Whether an index is made with these options, is listed with them, and lets a document in.
async fn indexes_by(session: &Session, key: Document, options: Document) -> Result<bool, Error> {
    let mut index = doc! { "key": key, "name": "tried" };
    index.extend(options.clone());
    let create = doc! { "createIndexes": SCRATCH, "indexes": [index] };
    if !answers("make an index", session.try_command(create).await)? {
        return Ok(false);
    }
    let insert = doc! { "insert": SCRATCH, "documents": [{ "_id": 1, "email": "a", "about": "b", "name": "c" }] };
    if !answers("insert below an index", session.try_command(insert).await)? {
        return Ok(false);
    }
    let listed = session.indexes(SCRATCH).await?;
    let listed = listed.iter().find(|index| mongo::text(index, "name") == "tried");
    Ok(listed.is_some_and(|index| options.keys().all(|option| index.contains_key(option))))
}

/// Whether a command was carried out; an error where there was no answer.
fn answers(doing: &str, result: Result<Document, mongodb::error::Error>) -> Result<bool, Error> {
    match result {
        Ok(answer) => Ok(!answer.contains_key("writeErrors")),
        Err(error) if mongo::code(&error).is_some() => Ok(false),
        Err(error) => Err(Error::mongo(doing)(error)),
    }
}

async fn clear(session: &Session) -> Result<(), Error> {
    session.collection(SCRATCH).drop().await.map_err(Error::mongo("drop what was tried"))
}

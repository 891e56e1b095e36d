//! Reads what a scenario says of its databases.

use std::collections::BTreeMap;

use super::file::ScenarioReader;
use super::yaml::Node;
use super::*;

const KINDS: [(&str, DatabaseKind); 3] = [
    (DatabaseKind::Postgres.name(), DatabaseKind::Postgres),
    (DatabaseKind::Mongodb.name(), DatabaseKind::Mongodb),
    (DatabaseKind::Cockroach.name(), DatabaseKind::Cockroach),
];

/// Kinds of databases by name, for what is said of them elsewhere in the file.
pub(super) fn kinds(root: &Node) -> BTreeMap<String, DatabaseKind> {
    let entries = root.get("databases").map(Node::entries).unwrap_or_default();
    let kind = |node: &Node| {
        let word = node.get("kind")?.text()?;
        Some(KINDS.iter().find(|(name, _)| *name == word)?.1)
    };
    entries.iter().filter_map(|(key, node)| Some((key.text.clone(), kind(node)?))).collect()
}

impl ScenarioReader<'_> {
    pub(super) fn database(&self, node: &Node) -> Option<Database> {
        let r = self.reader;
        let mut fields = r.fields(node)?;
        let kind = fields.required("kind", |node| r.word(node, &KINDS));
        let cluster = self.cluster_of(&mut fields);
        let host = fields.required("host", |node| self.host(node));
        let port = fields.required("port", |node| r.number(node));
        let database = fields.required("database", |node| r.value_from(node));
        let user = fields.required("user", |node| r.value_from(node));
        let password = fields.required("password", |node| r.secret_from(node));
        let live_tables = fields.or_default("live-tables", |node| r.list(node, |node| r.text(node)));
        let superuser = fields.optional("superuser", |node| self.login(node));
        let second_role = fields.optional("second-role", |node| self.second_role(node));
        let restored_in = fields.optional("restored-in", |node| self.database_like(node, kind));
        fields.close();
        self.refuse_what_only_postgres_has(node, kind?);
        Some(Database {
            kind: kind?,
            cluster: cluster?,
            host: host?,
            port: port?,
            database: database?,
            user: user?,
            password: password?,
            live_tables: live_tables?,
            superuser: superuser?,
            second_role: second_role?,
            restored_in: restored_in?,
            source: r.source(node.line),
        })
    }

    fn refuse_what_only_postgres_has(&self, node: &Node, kind: DatabaseKind) {
        match kind {
            DatabaseKind::Postgres | DatabaseKind::Cockroach => {}
            DatabaseKind::Mongodb => {
                let fields = ["superuser", "second-role"].into_iter();
                for (field, there) in fields.filter_map(|field| Some((field, node.get(field)?))) {
                    self.reader.problem(there.line, format!("`{field}` is for kind postgres: take it out"));
                }
            }
        }
    }

    /// The name of a database of this kind. `what`: what the kind is needed for, `a log that is shipped`.
    pub(super) fn database_of(&self, node: &Node, kind: DatabaseKind, what: &str) -> Option<String> {
        let name = self.reader.reference(node, "database", &self.databases)?;
        match self.kinds.get(&name) {
            Some(&other) if other != kind => {
                let message = format!("{what} is for kind {}, and `{name}` is of kind {}", kind.name(), other.name());
                self.reader.refuse(node.line, message)
            }
            // A kind that there is not has been said already.
            Some(_) | None => Some(name),
        }
    }

    fn database_like(&self, node: &Node, kind: Option<DatabaseKind>) -> Option<String> {
        match kind {
            Some(kind) => self.database_of(node, kind, "`restored-in` of this database"),
            None => self.reader.reference(node, "database", &self.databases),
        }
    }

    fn login(&self, node: &Node) -> Option<Login> {
        let mut fields = self.reader.fields(node)?;
        let user = fields.required("user", |node| self.reader.value_from(node));
        let password = fields.required("password", |node| self.reader.secret_from(node));
        fields.close();
        Some(Login { user: user?, password: password? })
    }

    fn second_role(&self, node: &Node) -> Option<SecondRole> {
        let mut fields = self.reader.fields(node)?;
        let name = fields.required("name", |node| self.reader.text(node));
        let password = fields.required("password", |node| self.reader.secret_from(node));
        fields.close();
        Some(SecondRole { name: name?, password: password? })
    }
}

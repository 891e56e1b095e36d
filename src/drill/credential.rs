//! Credentials at checkpoints: who must be let in where, with the secret from where the system keeps it.

use std::collections::BTreeMap;

use crate::drill::stage::PodProber;
use crate::drill::value::{ValueError, Values};
use crate::outcome::{CredentialOutcome, Expectation, Observation};
use crate::probe::{DatabaseTarget, LoginTarget, Reply, Request, ResticTarget};
use crate::redact::Secret;
use crate::scenario::{
    Checkpoint, Credential, CredentialTarget, Database, ReadAt, Repository, Scenario, StoreKind, ValueFrom,
};

/// Tries the scenario's logins at the moments it names.
pub struct Credentials<'a> {
    scenario: &'a Scenario,
    drill: &'a str,
    /// What was read once, by index of the credential.
    remembered: BTreeMap<usize, Result<Secret, String>>,
}

impl<'a> Credentials<'a> {
    pub fn new(scenario: &'a Scenario, drill: &'a str) -> Self {
        Self { scenario, drill, remembered: BTreeMap::new() }
    }

    /// Logs every principal in that has an expectation at `checkpoint`; an unknown answer is an outcome, too.
    pub async fn check(
        &mut self,
        checkpoint: Checkpoint,
        values: &Values,
        prober: &mut PodProber,
    ) -> Vec<CredentialOutcome> {
        self.remember(checkpoint, values).await;
        let mut outcomes = Vec::new();
        // Where a random password has been refused at this checkpoint: that says the same of every other one that is tried there.
        let mut guarded = Vec::new();
        for (index, credential) in self.scenario.credentials.iter().enumerate() {
            let Some(&expected) = credential.expected.get(&checkpoint) else { continue };
            if self.applies(credential) {
                let door = (&credential.target, &credential.user);
                let random_refused = guarded.contains(&door);
                let attempt = self.attempt(index, credential, values, prober, (expected, random_refused)).await;
                if matches!(attempt, Ok((_, true))) {
                    guarded.push(door);
                }
                outcomes.push(outcome(credential, checkpoint, expected, attempt));
            }
        }
        outcomes
    }

    fn applies(&self, credential: &Credential) -> bool {
        credential.drills.is_empty() || credential.drills.iter().any(|drill| drill == self.drill)
    }

    async fn remember(&mut self, checkpoint: Checkpoint, values: &Values) {
        for (index, credential) in self.scenario.credentials.iter().enumerate() {
            if credential.read_at == ReadAt::Once(checkpoint) {
                let secret = values.secret(&credential.secret).await.map_err(|error| error.to_string());
                self.remembered.insert(index, secret);
            }
        }
    }

    async fn attempt(
        &self,
        index: usize,
        credential: &Credential,
        values: &Values,
        prober: &mut PodProber,
        (expected, random_refused): (Expectation, bool),
    ) -> Result<(Observation, bool), String> {
        let secret = match credential.read_at {
            ReadAt::Checkpoint => values.secret(&credential.secret).await.map_err(|error| error.to_string())?,
            ReadAt::Once(moment) => match self.remembered.get(&index) {
                Some(remembered) => remembered.clone()?,
                None => return Err(format!("its secret was to be read {}, which did not come", moment.name())),
            },
        };
        let target = self.target(credential, secret, values).await?;
        match prober.ask(&Request::Login { target, expected, random_refused }).await {
            Ok(Reply::Login { observed, random_refused }) => Ok((observed, random_refused)),
            Ok(other) => Err(format!("the prober answered something else: {other:?}")),
            Err(error) => Err(crate::error::chain(&error)),
        }
    }

    async fn target(&self, credential: &Credential, secret: Secret, values: &Values) -> Result<LoginTarget, String> {
        let text = |error: ValueError| crate::error::chain(&error);
        match &credential.target {
            CredentialTarget::Database(name) => {
                let database = self.scenario.databases.get(name).ok_or("no such database in the scenario")?;
                let user = credential.user.as_ref().unwrap_or(&database.user);
                let target = database_as(database, user, secret, values).await.map_err(text)?;
                Ok(LoginTarget::Database(target))
            }
            CredentialTarget::Restic(name) => {
                let repository = self.scenario.repositories.get(name).ok_or("no such repository in the scenario")?;
                let target = restic(self.scenario, repository, secret, values).await.map_err(text)?;
                Ok(LoginTarget::Restic(target))
            }
            CredentialTarget::Http(url) => {
                let user = credential.user.as_ref().ok_or("the scenario names no user")?;
                let user = values.name(user).await.map_err(text)?;
                Ok(LoginTarget::Http { url: url.clone(), user, password: secret })
            }
        }
    }
}

/// A database as one principal reaches it.
pub async fn database_as(
    database: &Database,
    user: &ValueFrom,
    password: Secret,
    values: &Values,
) -> Result<DatabaseTarget, ValueError> {
    Ok(DatabaseTarget {
        kind: database.kind,
        host: database.address(),
        port: database.port,
        database: values.name(&database.database).await?,
        user: values.name(user).await?,
        password,
    })
}

async fn restic(
    scenario: &Scenario,
    repository: &Repository,
    password: Secret,
    values: &Values,
) -> Result<ResticTarget, ValueError> {
    let mut env = BTreeMap::new();
    if let Some(StoreKind::S3(s3)) = scenario.stores.get(&repository.store).map(|store| &store.kind) {
        env.insert("AWS_ACCESS_KEY_ID".to_owned(), values.secret(&s3.access_key).await?);
        env.insert("AWS_SECRET_ACCESS_KEY".to_owned(), values.secret(&s3.secret_key).await?);
    }
    let base = values.name(&repository.base).await?;
    let repository = format!("{}/{}", base.trim_end_matches('/'), repository.path);
    Ok(ResticTarget { repository, password, env })
}

fn outcome(
    credential: &Credential,
    checkpoint: Checkpoint,
    expected: Expectation,
    attempt: Result<(Observation, bool), String>,
) -> CredentialOutcome {
    let (observed, random_refused) = attempt.unwrap_or_else(|reason| (Observation::Unknown { reason }, false));
    CredentialOutcome {
        principal: credential.principal.clone(),
        kept_in: credential.secret.to_string(),
        checkpoint: checkpoint.name().to_owned(),
        expected,
        observed,
        random_refused,
    }
}

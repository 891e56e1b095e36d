//! AWS Backup: recovery points of file systems, and the jobs that make and restore them.

use std::sync::Arc;

use axum::http::Method;
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::account::{Account, State};
use super::fault::Fault;
use super::job::{self, BackupJob, BackupRequest, End, RecoveryPoint, RestoreJob};
use super::service::seconds;
use crate::system::cloud_formation::ACCOUNT;

/// Answers an operation by its method and the parts of its path.
pub async fn serve(account: &Arc<Account>, method: &Method, path: &[&str], input: &Value) -> Result<Value, Fault> {
    let mut state = account.state().await;
    let told = Told { account, state: &state };
    match (method.as_str(), path) {
        ("GET", ["resources"]) => Ok(told.protected()),
        ("GET", ["resources", arn, "recovery-points"]) => told.points_of(arn),
        ("GET", ["backup-vaults"]) => Ok(told.vaults()),
        ("GET", ["backup-vaults", vault, "recovery-points"]) => told.points_in(vault),
        ("GET", ["backup-vaults", vault, "recovery-points", arn]) => Ok(told.point(told.find(Some(vault), arn)?)),
        ("GET", ["backup-vaults", vault, "recovery-points", arn, "restore-metadata"]) => told.metadata(vault, arn),
        ("GET", ["backup", "plans"]) => Ok(told.plans()),
        ("GET", ["backup-jobs"]) => Ok(
            json!({"BackupJobs": state.backup_jobs.iter().rev().map(|job| told.backup_job(job)).collect::<Vec<_>>()}),
        ),
        ("GET", ["backup-jobs", id]) => {
            let found = state.backup_jobs.iter().find(|job| job.id == *id);
            found.map(|job| told.backup_job(job)).ok_or_else(|| missing("Backup job", id))
        }
        ("GET", ["restore-jobs"]) => {
            let jobs = state.restore_jobs.iter().rev().map(|job| told.restore_job(job));
            Ok(json!({"RestoreJobs": jobs.collect::<Vec<_>>()}))
        }
        ("GET", ["restore-jobs", id]) => {
            let found = state.restore_jobs.iter().find(|job| job.id == *id);
            found.map(|job| told.restore_job(job)).ok_or_else(|| missing("Restore job", id))
        }
        ("PUT", ["backup-jobs"]) => start_backup(account, &mut state, input).await,
        ("PUT", ["restore-jobs"]) => start_restore(account, &mut state, input).await,
        (method, path) => Err(Fault::unserved(&format!("AWS Backup's {method} /{}", path.join("/")))),
    }
}

fn missing(what: &str, name: &str) -> Fault {
    Fault::new("ResourceNotFoundException", format!("{what} {name} was not found"))
}

fn refuse_others(input: &Value, served: &[&str]) -> Result<(), Fault> {
    let other = input.as_object().into_iter().flatten().find(|(name, _)| !served.contains(&name.as_str()));
    other.map_or(Ok(()), |(name, _)| Err(Fault::unserved(&format!("AWS Backup's {name}"))))
}

async fn start_backup(account: &Arc<Account>, state: &mut State, input: &Value) -> Result<Value, Fault> {
    const SERVED: [&str; 7] = [
        "BackupVaultName",
        "ResourceArn",
        "IamRoleArn",
        "IdempotencyToken",
        "StartWindowMinutes",
        "CompleteWindowMinutes",
        "Lifecycle",
    ];
    refuse_others(input, &SERVED)?;
    let text = |name: &str| input[name].as_str().unwrap_or_default();
    let vault = text("BackupVaultName");
    if !state.stack.vaults.values().any(|known| known.name == vault) {
        return Err(missing("Backup vault", vault));
    }
    let file_system = file_system(account, state, text("ResourceArn"))?;
    let (vault, role) = (vault.to_owned(), text("IamRoleArn").to_owned());
    let request = BackupRequest { vault, file_system, role, plan: None, age: SignedDuration::ZERO };
    let job = job::start_backup(account, state, request);
    account.publish(state).await?;
    Ok(json!({"BackupJobId": job.id, "RecoveryPointArn": job.point.arn, "CreationDate": seconds(job.created)}))
}

async fn start_restore(account: &Arc<Account>, state: &mut State, input: &Value) -> Result<Value, Fault> {
    refuse_others(input, &["RecoveryPointArn", "Metadata", "IamRoleArn", "IdempotencyToken", "ResourceType"])?;
    let invalid = |message: String| Fault::new("InvalidParameterValueException", message);
    let text = |name: &str| input[name].as_str().unwrap_or_default();
    if !matches!(input["ResourceType"].as_str(), None | Some("EFS")) {
        return Err(invalid("ResourceType has to be EFS".to_owned()));
    }
    if text("IamRoleArn").is_empty() {
        return Err(invalid("IamRoleArn is needed to restore".to_owned()));
    }
    let point = Told { account, state }.find(None, text("RecoveryPointArn"))?.clone();
    let metadata = |name: &str| input["Metadata"][name].as_str();
    const KNOWN: [&str; 6] =
        ["file-system-id", "newFileSystem", "Encrypted", "PerformanceMode", "CreationToken", "KmsKeyId"];
    if let Some((name, _)) =
        input["Metadata"].as_object().into_iter().flatten().find(|(name, _)| !KNOWN.contains(&name.as_str()))
    {
        return Err(Fault::unserved(&format!("a restore with {name}")));
    }
    let own = state.stack.file_systems.get(&point.file_system).map(|system| system.id.clone());
    let Some(id) = metadata("file-system-id") else {
        return Err(invalid("Metadata needs file-system-id".to_owned()));
    };
    if own.as_deref() != Some(id) {
        return Err(invalid(format!("file-system-id {id} is not the file system of the recovery point")));
    }
    if metadata("newFileSystem") != Some("false") {
        let what = "a restore into a new file system: say newFileSystem=false";
        return Err(Fault::unserved(what));
    }
    let job = job::start_restore(account, state, point, text("IamRoleArn").to_owned());
    account.publish(state).await?;
    Ok(json!({"RestoreJobId": job.id}))
}

/// The logical name of a file system.
fn file_system(account: &Account, state: &State, arn: &str) -> Result<String, Fault> {
    let of = |id: &str| account.identity.arn("elasticfilesystem", &format!("file-system/{id}"));
    let found = state.stack.file_systems.iter().find(|(_, system)| of(&system.id) == arn);
    found.map(|(logical, _)| logical.clone()).ok_or_else(|| missing("Resource", arn))
}

/// The state as clients see it.
struct Told<'a> {
    account: &'a Account,
    state: &'a State,
}

impl Told<'_> {
    fn vault_arn(&self, vault: &str) -> String {
        self.account.identity.arn("backup", &format!("backup-vault:{vault}"))
    }

    fn resource_arn(&self, logical: &str) -> String {
        let id = self.state.stack.file_systems.get(logical).map_or("", |system| system.id.as_str());
        self.account.identity.arn("elasticfilesystem", &format!("file-system/{id}"))
    }

    fn name_of(&self, logical: &str) -> &str {
        self.state.stack.file_systems.get(logical).map_or("", |system| system.name.as_str())
    }

    fn find(&self, vault: Option<&str>, arn: &str) -> Result<&RecoveryPoint, Fault> {
        let mut points = self.state.points.iter();
        let found = points.find(|point| point.arn == arn && vault.is_none_or(|vault| point.vault == vault));
        found.ok_or_else(|| missing("Recovery point", arn))
    }

    fn newest_first(&self, of: impl Fn(&RecoveryPoint) -> bool) -> Vec<&RecoveryPoint> {
        let mut points: Vec<&RecoveryPoint> = self.state.points.iter().filter(|point| of(point)).collect();
        points.sort_by_key(|point| std::cmp::Reverse(point.created));
        points
    }

    fn protected(&self) -> Value {
        let systems = self.state.stack.file_systems.keys();
        let with_points = systems.filter_map(|logical| {
            let newest = *self.newest_first(|point| point.file_system == *logical).first()?;
            Some(json!({
                "ResourceArn": self.resource_arn(logical), "ResourceType": "EFS", "ResourceName": self.name_of(logical),
                "LastBackupTime": seconds(newest.created), "LastBackupVaultArn": self.vault_arn(&newest.vault),
                "LastRecoveryPointArn": newest.arn,
            }))
        });
        json!({"Results": with_points.collect::<Vec<_>>()})
    }

    fn points_of(&self, arn: &str) -> Result<Value, Fault> {
        let logical = file_system(self.account, self.state, arn)?;
        let points = self.newest_first(|point| point.file_system == logical).into_iter().map(|point| {
            json!({
                "RecoveryPointArn": point.arn, "CreationDate": seconds(point.created), "Status": "COMPLETED",
                "BackupSizeBytes": point.bytes, "BackupVaultName": point.vault, "IsParent": false,
                "ResourceName": self.name_of(&point.file_system), "VaultType": "BACKUP_VAULT",
            })
        });
        Ok(json!({"RecoveryPoints": points.collect::<Vec<_>>()}))
    }

    fn points_in(&self, vault: &str) -> Result<Value, Fault> {
        if !self.state.stack.vaults.values().any(|known| known.name == vault) {
            return Err(missing("Backup vault", vault));
        }
        let points = self.newest_first(|point| point.vault == vault).into_iter().map(|point| self.point(point));
        Ok(json!({"RecoveryPoints": points.collect::<Vec<_>>()}))
    }

    fn vaults(&self) -> Value {
        let vaults = self.state.stack.vaults.values().map(|vault| {
            let count = self.newest_first(|point| point.vault == vault.name).len();
            json!({
                "BackupVaultName": vault.name, "BackupVaultArn": self.vault_arn(&vault.name),
                "CreationDate": seconds(self.state.created), "NumberOfRecoveryPoints": count,
            })
        });
        json!({"BackupVaultList": vaults.collect::<Vec<_>>()})
    }

    fn plans(&self) -> Value {
        let plans = self.state.stack.plans.values().map(|plan| {
            json!({
                "BackupPlanArn": self.account.identity.arn("backup", &format!("backup-plan:{}", plan.id)),
                "BackupPlanId": plan.id, "BackupPlanName": plan.name, "CreationDate": seconds(self.state.created),
            })
        });
        json!({"BackupPlansList": plans.collect::<Vec<_>>()})
    }

    fn point(&self, point: &RecoveryPoint) -> Value {
        let plan = point.plan.as_ref().and_then(|name| self.state.stack.plans.values().find(|plan| plan.name == *name));
        let created_by = plan.map(|plan| {
            json!({"BackupPlanId": plan.id, "BackupPlanName": plan.name,
                "BackupPlanArn": self.account.identity.arn("backup", &format!("backup-plan:{}", plan.id))})
        });
        let mut told = json!({
            "RecoveryPointArn": point.arn, "BackupVaultName": point.vault, "BackupVaultArn": self.vault_arn(&point.vault),
            "ResourceArn": self.resource_arn(&point.file_system), "ResourceType": "EFS", "Status": "COMPLETED",
            "ResourceName": self.name_of(&point.file_system), "CreationDate": seconds(point.created),
            "BackupSizeInBytes": point.bytes, "IsEncrypted": true, "IsParent": false, "VaultType": "BACKUP_VAULT",
        });
        if let Some(created_by) = created_by {
            told["CreatedBy"] = created_by;
        }
        told
    }

    fn metadata(&self, vault: &str, arn: &str) -> Result<Value, Fault> {
        let point = self.find(Some(vault), arn)?;
        let id = self.state.stack.file_systems.get(&point.file_system).map(|system| system.id.as_str());
        Ok(json!({
            "BackupVaultArn": self.vault_arn(vault), "RecoveryPointArn": arn, "ResourceType": "EFS",
            "RestoreMetadata": {"file-system-id": id, "newFileSystem": "false", "Encrypted": "true", "PerformanceMode": "generalPurpose"},
        }))
    }

    fn backup_job(&self, job: &BackupJob) -> Value {
        let point = &job.point;
        let mut told = json!({
            "AccountId": ACCOUNT, "BackupJobId": job.id, "BackupVaultName": point.vault, "RecoveryPointArn": point.arn,
            "BackupVaultArn": self.vault_arn(&point.vault), "ResourceArn": self.resource_arn(&point.file_system),
            "ResourceType": "EFS", "ResourceName": self.name_of(&point.file_system), "IamRoleArn": job.role,
            "CreationDate": seconds(job.created), "IsParent": false,
        });
        end(&mut told, "State", job.ended.as_ref());
        told
    }

    fn restore_job(&self, job: &RestoreJob) -> Value {
        let resource = self.resource_arn(&job.point.file_system);
        let mut told = json!({
            "AccountId": ACCOUNT, "RestoreJobId": job.id, "RecoveryPointArn": job.point.arn, "ResourceType": "EFS",
            "SourceResourceArn": resource, "IamRoleArn": job.role, "CreationDate": seconds(job.created),
            "RecoveryPointCreationDate": seconds(job.point.created), "BackupVaultArn": self.vault_arn(&job.point.vault),
        });
        end(&mut told, "Status", job.ended.as_ref());
        if job.ended.as_ref().is_some_and(|end| end.failure.is_none()) {
            told["CreatedResourceArn"] = json!(resource);
        }
        told
    }
}

fn end(told: &mut Value, field: &str, end: Option<&End>) {
    let Some(end) = end else {
        told[field] = json!("RUNNING");
        told["PercentDone"] = json!("0.0%");
        return;
    };
    told["CompletionDate"] = json!(seconds(end.at));
    told["BackupSizeInBytes"] = json!(end.copied.bytes);
    match &end.failure {
        None => {
            told[field] = json!("COMPLETED");
            told["PercentDone"] = json!("100.0%");
        }
        Some(failure) => {
            told[field] = json!("FAILED");
            told["StatusMessage"] = json!(failure);
        }
    }
}

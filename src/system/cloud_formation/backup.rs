//! Vaults, plans and what they are for.

use super::Stack;
use super::properties::Properties;
use crate::outcome::SourceRef;
use crate::problem::suggestion;

/// Where recovery points are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vault {
    pub name: String,
}

/// What is backed up by a clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub name: String,
    pub id: String,
    /// Name of the vault.
    pub vault: String,
    /// Logical names, from the plan's selections.
    pub file_systems: Vec<String>,
    pub source: SourceRef,
}

pub(super) fn vault(name: &str, mut fields: Properties<'_, '_>, stack: &mut Stack) {
    let called = fields.need("BackupVaultName");
    fields.without_effect(&["BackupVaultTags", "EncryptionKeyArn", "AccessPolicy"]);
    fields.refuse("LockConfiguration", "nothing is ever deleted from a vault here");
    fields.close();
    stack.vaults.insert(name.to_owned(), Vault { name: called });
}

pub(super) fn plan(name: &str, mut fields: Properties<'_, '_>, stack: &mut Stack) {
    let Some(mut plan) = fields.child("BackupPlan") else {
        return fields.problem("BackupPlan", "`BackupPlan` is missing here");
    };
    let source = plan.source("");
    let called = plan.need("BackupPlanName");
    let mut rules = plan.items("BackupPlanRule");
    if rules.len() != 1 {
        plan.problem("BackupPlanRule", "one rule is needed: make a plan of each");
    }
    plan.refuse("AdvancedBackupSettings", "they are for Windows");
    let mut vault = String::new();
    if let Some(mut rule) = rules.pop() {
        rule.need("RuleName");
        vault = vault_of(&mut rule, stack);
        // A drill runs the plan itself, and is over before anything is moved or deleted.
        rule.without_effect(&[
            "ScheduleExpression",
            "ScheduleExpressionTimezone",
            "StartWindowMinutes",
            "CompletionWindowMinutes",
            "Lifecycle",
            "RecoveryPointTags",
        ]);
        rule.refuse("EnableContinuousBackup", "EFS has no continuous backup");
        rule.refuse("CopyActions", "there is one region and one account");
        rule.close();
    }
    plan.close();
    fields.without_effect(&["BackupPlanTags"]);
    fields.close();
    let id = stack.identity.plan(name);
    stack.plans.insert(name.to_owned(), Plan { name: called, id, vault, file_systems: Vec::new(), source });
}

fn vault_of(rule: &mut Properties<'_, '_>, stack: &Stack) -> String {
    let wanted = rule.need("TargetBackupVault");
    let is_it = |(logical, vault): &(&String, &Vault)| {
        vault.name == wanted || stack.identity.of_resource(logical, "AWS::Backup::BackupVault") == wanted
    };
    match stack.vaults.iter().find(is_it) {
        Some((_, vault)) => vault.name.clone(),
        None => {
            let hint = suggestion(&wanted, stack.vaults.values().map(|vault| vault.name.as_str()));
            rule.problem("TargetBackupVault", format!("no vault of the template is called `{wanted}`{hint}"));
            wanted
        }
    }
}

pub(super) fn selection(mut fields: Properties<'_, '_>, stack: &mut Stack) {
    let plan = fields.need("BackupPlanId");
    let mut chosen = Vec::new();
    match fields.child("BackupSelection") {
        None => fields.problem("BackupSelection", "`BackupSelection` is missing here"),
        Some(mut selection) => {
            selection.need("SelectionName");
            selection.need("IamRoleArn");
            for arn in selection.texts("Resources") {
                let is_it = |(_, system): &(&String, &super::FileSystem)| arn.ends_with(&format!("/{}", system.id));
                match stack.file_systems.iter().find(is_it) {
                    Some((logical, _)) => chosen.push(logical.clone()),
                    None => selection.problem("Resources", format!("`{arn}` is no file system of the template")),
                }
            }
            for field in ["ListOfTags", "Conditions", "NotResources"] {
                selection.refuse(field, "name the file systems in `Resources`");
            }
            if chosen.is_empty() {
                selection.problem("Resources", "nothing is chosen: name file systems, as in `!GetAtt Storage.Arn`");
            }
            selection.close();
        }
    }
    match stack.plans.values_mut().find(|known| known.id == plan) {
        Some(known) => known.file_systems.extend(chosen),
        None => fields.problem("BackupPlanId", "no plan of the template: write `!Ref` and its logical name"),
    }
    fields.close();
}

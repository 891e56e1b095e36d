//! CloudFormation: the stack is looked at and updated.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::account::{Account, State};
use super::fault::Fault;
use super::{disturbance, scheduler};
use crate::system::cloud_formation::{Stack, Values};

const TEMPLATE: &str = "template";

/// Fields of a request, as they were sent.
pub type Form = BTreeMap<String, String>;

/// Answers an operation with its result.
pub async fn serve(account: &Arc<Account>, operation: &str, form: &Form) -> Result<Value, Fault> {
    match operation {
        "UpdateStack" => return update(account, form).await,
        "ValidateTemplate" => return validate(account, form),
        _ => {}
    }
    let state = account.state().await;
    if let Some(name) = form.get("StackName") {
        is_there(account, name)?;
    }
    match operation {
        "DescribeStacks" => Ok(json!({"Stacks": [described(&state)]})),
        "DescribeStackEvents" => Ok(json!({"StackEvents": events(&state)})),
        "DescribeStackResources" => Ok(json!({"StackResources": resources(&state)})),
        "GetTemplate" => Ok(json!({"TemplateBody": state.template, "StagesAvailable": ["Original", "Processed"]})),
        other => Err(Fault::unserved(&format!("CloudFormation's {other}"))),
    }
}

fn is_there(account: &Account, name: &str) -> Result<(), Fault> {
    let identity = &account.identity;
    match name == identity.stack || name == identity.stack_arn() {
        true => Ok(()),
        false => Err(Fault::new("ValidationError", format!("Stack with id {name} does not exist"))),
    }
}

fn read(account: &Account, text: &str, parameters: &BTreeMap<String, String>) -> Result<Stack, Fault> {
    Stack::read(TEMPLATE, text, account.identity.clone(), Values::Known(parameters)).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Fault::new("ValidationError", format!("Template format error: {}", lines.join("; ")))
    })
}

fn body(form: &Form) -> Result<&str, Fault> {
    let body = form.get("TemplateBody").map(String::as_str);
    body.ok_or_else(|| Fault::new("ValidationError", "a template is served as TemplateBody only: use --template-body"))
}

fn validate(account: &Account, form: &Form) -> Result<Value, Fault> {
    let stack = read(account, body(form)?, &account.settings.parameters)?;
    let parameters: Vec<Value> =
        stack.parameters.iter().map(|(name, is_secret)| json!({"ParameterKey": name, "NoEcho": is_secret})).collect();
    let capabilities = if stack.needs_capability() { vec!["CAPABILITY_NAMED_IAM"] } else { Vec::new() };
    Ok(json!({"Parameters": parameters, "Capabilities": capabilities}))
}

/// The values that a request gives, and those that it leaves as they are.
fn parameters(account: &Account, form: &Form) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for number in 1.. {
        let field = |name: &str| form.get(&format!("Parameters.member.{number}.{name}"));
        let Some(key) = field("ParameterKey") else { break };
        let previous = field("UsePreviousValue").is_some_and(|previous| previous == "true");
        let value = if previous { account.settings.parameters.get(key) } else { field("ParameterValue") };
        values.extend(value.map(|value| (key.clone(), value.clone())));
    }
    values
}

async fn update(account: &Arc<Account>, form: &Form) -> Result<Value, Fault> {
    const SERVED: [&str; 5] =
        ["StackName", "TemplateBody", "UsePreviousTemplate", "ClientRequestToken", "DisableRollback"];
    let lists = |name: &str| name.starts_with("Parameters.") || name.starts_with("Capabilities.");
    if let Some(other) = form.keys().find(|name| !SERVED.contains(&name.as_str()) && !lists(name)) {
        return Err(Fault::unserved(&format!("CloudFormation's UpdateStack with {other}")));
    }
    is_there(account, form.get("StackName").map_or("", String::as_str))?;
    let mut state = account.state().await;
    let text = match form.get("UsePreviousTemplate").map(String::as_str) {
        Some("true") => state.template.clone(),
        Some(_) | None => body(form)?.to_owned(),
    };
    let stack = read(account, &text, &parameters(account, form))?;
    let granted =
        form.iter().any(|(name, value)| name.starts_with("Capabilities.") && value.starts_with("CAPABILITY_"));
    if stack.needs_capability() && !granted {
        return Err(Fault::new("InsufficientCapabilitiesException", "Requires capabilities : [CAPABILITY_IAM]"));
    }
    if state.stack_status.ends_with("_IN_PROGRESS") {
        let message = format!(
            "Stack:{} is in {} state and can not be updated.",
            account.identity.stack_arn(),
            state.stack_status
        );
        return Err(Fault::new("ValidationError", message));
    }
    if stack.is_same_as(&state.stack) {
        return Err(Fault::new("ValidationError", "No updates are to be performed."));
    }
    refuse_replacements(&state.stack, &stack)?;
    switch(account, &mut state, stack, text).await?;
    Ok(json!({"StackId": account.identity.stack_arn()}))
}

/// What cannot be changed while a drill runs.
fn refuse_replacements(from: &Stack, to: &Stack) -> Result<(), Fault> {
    let systems = |stack: &Stack| stack.file_systems.keys().cloned().collect::<Vec<_>>();
    let services = |stack: &Stack| -> Vec<(String, String, String)> {
        let named = |(name, service): (&String, &crate::system::cloud_formation::Service)| {
            (name.clone(), service.name.clone(), service.cluster.clone())
        };
        stack.services.iter().map(named).collect()
    };
    let refuse = |what: &str| Err(Fault::unserved(&format!("an update that adds, replaces or takes away {what}")));
    if systems(from) != systems(to) {
        return refuse("file systems");
    }
    if services(from) != services(to) {
        return refuse("services");
    }
    Ok(())
}

async fn switch(account: &Arc<Account>, state: &mut State, stack: Stack, text: String) -> Result<(), Fault> {
    disturbance::switched(state).await;
    state.stack = stack;
    state.template = text;
    state.updated = Some(jiff::Timestamp::now());
    state.stack_event("UPDATE_IN_PROGRESS", "User Initiated");
    state.register();
    state.deploy();
    scheduler::look(account, state).await?;
    Ok(())
}

fn described(state: &State) -> Value {
    let identity = &state.stack.identity;
    let parameters: Vec<Value> = state
        .stack
        .parameters
        .iter()
        .map(|(name, is_secret)| {
            let value = state.stack.given.get(name).filter(|_| !is_secret).map_or("****", String::as_str);
            json!({"ParameterKey": name, "ParameterValue": value})
        })
        .collect();
    json!({
        "StackId": identity.stack_arn(), "StackName": identity.stack, "Parameters": parameters,
        "CreationTime": state.created.to_string(), "LastUpdatedTime": state.updated.map(|at| at.to_string()),
        "StackStatus": state.stack_status, "DisableRollback": false, "Capabilities": ["CAPABILITY_IAM"],
    })
}

fn events(state: &State) -> Vec<Value> {
    let identity = &state.stack.identity;
    let event = |event: &super::account::Event| {
        json!({
            "StackId": identity.stack_arn(), "StackName": identity.stack, "EventId": event.id,
            "LogicalResourceId": event.resource, "PhysicalResourceId": identity.stack_arn(),
            "ResourceType": "AWS::CloudFormation::Stack", "Timestamp": event.at.to_string(),
            "ResourceStatus": event.status, "ResourceStatusReason": Some(&event.message).filter(|text| !text.is_empty()),
        })
    };
    state.stack_events.iter().map(event).collect()
}

fn resources(state: &State) -> Vec<Value> {
    let identity = &state.stack.identity;
    let at = state.updated.unwrap_or(state.created).to_string();
    let resource = |(name, (kind, _)): (&String, &(String, Value))| {
        json!({
            "StackId": identity.stack_arn(), "StackName": identity.stack, "LogicalResourceId": name,
            "PhysicalResourceId": identity.of_resource(name, kind), "ResourceType": kind, "Timestamp": at,
            "ResourceStatus": state.stack_status,
        })
    };
    state.stack.resources.iter().map(resource).collect()
}

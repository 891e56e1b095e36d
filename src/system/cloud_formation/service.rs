//! Services: how many tasks of which definition run, and how one definition follows another.

use super::Stack;
use super::properties::Properties;
use crate::outcome::SourceRef;
use crate::problem::suggestion;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    pub name: String,
    /// Name of the cluster.
    pub cluster: String,
    /// Logical name of the definition.
    pub task: String,
    pub desired: u32,
    /// Percent of `desired` that has to be healthy while a deployment goes on; 100 where nothing is said.
    pub minimum_healthy: u32,
    /// Percent of `desired` that may run meanwhile; 200 where nothing is said.
    pub maximum: u32,
    pub source: SourceRef,
}

pub(super) fn read(name: &str, mut fields: Properties<'_, '_>, stack: &mut Stack) {
    let source = fields.source("");
    let of_stack = format!("{}-{name}", stack.identity.stack);
    let called = fields.text("ServiceName").unwrap_or(of_stack);
    let cluster = cluster_of(&mut fields, stack);
    let task = task_of(&mut fields, stack);
    let desired = fields.number("DesiredCount").unwrap_or(1);
    fields.only("LaunchType", &["EC2"], "there is one container instance and no Fargate");
    fields.only("SchedulingStrategy", &["REPLICA"], "there is one container instance");
    let (mut minimum_healthy, mut maximum) = (100, 200);
    if let Some(mut deployment) = fields.child("DeploymentConfiguration") {
        minimum_healthy = deployment.number("MinimumHealthyPercent").unwrap_or(minimum_healthy);
        maximum = deployment.number("MaximumPercent").unwrap_or(maximum);
        if let Some(mut breaker) = deployment.child("DeploymentCircuitBreaker") {
            breaker.only("Enable", &["false"], "nothing is rolled back here");
            breaker.without_effect(&["Rollback"]);
            breaker.close();
        }
        deployment.close();
    }
    if minimum_healthy >= maximum {
        fields.problem("DeploymentConfiguration", "a deployment could never begin: MaximumPercent has to be greater");
    }
    fields.without_effect(&["Role", "Tags", "PropagateTags", "EnableECSManagedTags", "HealthCheckGracePeriodSeconds"]);
    fields.refuse("LoadBalancers", "there is no load balancer: the service is reached by its host ports");
    fields.refuse("NetworkConfiguration", "tasks are in bridge mode");
    fields.close();
    let service = Service { name: called, cluster, task, desired, minimum_healthy, maximum, source };
    stack.services.insert(name.to_owned(), service);
}

fn cluster_of(fields: &mut Properties<'_, '_>, stack: &Stack) -> String {
    let Some(wanted) = fields.text("Cluster") else {
        return "default".to_owned();
    };
    let is_it = |(logical, name): &(&String, &String)| {
        **name == wanted || stack.identity.of_resource(logical, "AWS::ECS::Cluster") == wanted
    };
    stack.clusters.iter().find(is_it).map_or_else(|| wanted.clone(), |(_, name)| name.clone())
}

fn task_of(fields: &mut Properties<'_, '_>, stack: &Stack) -> String {
    let wanted = fields.need("TaskDefinition");
    let is_it = |(logical, task): &(&String, &super::TaskDefinition)| {
        task.family == wanted || stack.identity.of_resource(logical, "AWS::ECS::TaskDefinition") == wanted
    };
    match stack.tasks.iter().find(is_it) {
        Some((logical, _)) => logical.clone(),
        None => {
            let hint = suggestion(&wanted, stack.tasks.values().map(|task| task.family.as_str()));
            fields.problem("TaskDefinition", format!("no task definition of the template is `{wanted}`{hint}"));
            String::new()
        }
    }
}

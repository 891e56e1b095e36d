//! What the service calls things: names and numbers that follow from the template, the same in every run.

/// An account that is nobody's, as documentation uses it.
pub const ACCOUNT: &str = "123456789012";

/// Of one stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub stack: String,
    pub region: String,
}

impl Identity {
    fn digits(&self, what: &str, length: usize) -> String {
        let hash = blake3::hash(format!("{} {} {what}", self.stack, self.region).as_bytes()).to_hex();
        hash[..length].to_owned()
    }

    pub fn arn(&self, service: &str, resource: &str) -> String {
        format!("arn:aws:{service}:{}:{ACCOUNT}:{resource}", self.region)
    }

    /// `fs-` and 17 digits.
    pub fn file_system(&self, logical: &str) -> String {
        format!("fs-0{}", self.digits(logical, 16))
    }

    pub fn stack_arn(&self) -> String {
        let id = self.digits("stack", 32);
        let id = format!("{}-{}-{}-{}-{}", &id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..]);
        self.arn("cloudformation", &format!("stack/{}/{id}", self.stack))
    }

    /// Of the one machine that tasks run on.
    pub fn container_instance(&self, cluster: &str) -> String {
        self.arn("ecs", &format!("container-instance/{cluster}/{}", self.digits("instance", 32)))
    }

    pub fn plan(&self, logical: &str) -> String {
        self.digits(&format!("plan {logical}"), 32)
    }

    /// What `Ref` gives.
    pub fn of_resource(&self, logical: &str, kind: &str) -> String {
        match kind {
            "AWS::EFS::FileSystem" => self.file_system(logical),
            "AWS::Backup::BackupPlan" => self.plan(logical),
            "AWS::ECS::TaskDefinition" => self.arn("ecs", &format!("task-definition/{logical}")),
            _ => format!("{}-{logical}", self.stack),
        }
    }

    /// What `Fn::GetAtt` gives; `None` where it is not known.
    pub fn attribute(&self, logical: &str, kind: &str, attribute: &str) -> Option<String> {
        Some(match (kind, attribute) {
            ("AWS::EFS::FileSystem", "FileSystemId") => self.file_system(logical),
            ("AWS::EFS::FileSystem", "Arn") => {
                self.arn("elasticfilesystem", &format!("file-system/{}", self.file_system(logical)))
            }
            ("AWS::Backup::BackupPlan", "BackupPlanId") => self.plan(logical),
            ("AWS::Backup::BackupVault", "BackupVaultName") => self.of_resource(logical, kind),
            ("AWS::IAM::Role" | "AWS::IAM::InstanceProfile", "Arn") => {
                format!("arn:aws:iam::{ACCOUNT}:role/{}-{logical}", self.stack)
            }
            ("AWS::EC2::SecurityGroup", "GroupId") => format!("sg-0{}", self.digits(logical, 16)),
            ("AWS::ECS::Cluster", "Arn") => self.arn("ecs", &format!("cluster/{}-{logical}", self.stack)),
            ("AWS::Logs::LogGroup", "Arn") => self.arn("logs", &format!("log-group:{}-{logical}", self.stack)),
            _ => return None,
        })
    }
}

//! The command line: arguments in words, nothing decided.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::assignment::Shard;
use crate::doctor::real_program;
use crate::scenario::{EnvironmentName, SeedSize};

/// Runs a team's written restore procedures, exactly as written, and proves whether they bring the system back.
///
/// A scenario (scenarios/<name>/scenario.yaml) binds a runbook to a system and says what to seed, lose, check and promise. A
/// drill provisions the system, seeds it, backs it up as the runbook says, takes the data away, restores as the runbook
/// says, and looks from the outside at what came back.
#[derive(Debug, Parser)]
#[command(name = "redrill", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    /// Where the scenarios are, one folder each
    #[arg(long, global = true, default_value = "scenarios", value_name = "DIR")]
    pub scenarios: PathBuf,
    /// Where each run leaves a folder with its reports
    #[arg(long, global = true, default_value = "reports", value_name = "DIR")]
    pub reports: PathBuf,
}

/// Where the reports of a command line go that asks for a run and is not understood; `None` for other commands.
pub fn reports_of_run(arguments: &[OsString]) -> Option<PathBuf> {
    let mut reports = PathBuf::from("reports");
    let mut command = None;
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.to_str() {
            Some("--reports") => reports = rest.next()?.into(),
            Some("--scenarios") => drop(rest.next()),
            Some(option) if option.starts_with('-') => {
                if let Some(folder) = option.strip_prefix("--reports=") {
                    reports = folder.into();
                }
            }
            _ => command = command.or(Some(argument)),
        }
    }
    (command? == "run").then_some(reports)
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run drills and write reports; the exit code is the worst verdict
    Run(RunArgs),
    /// Show every step that would run, with its line, its label and the errata at work; starts nothing
    Plan(PlanArgs),
    /// List the scenarios, their drills and past runs
    List,
    /// Hold scenarios to their runbooks and systems: what no drill covers, what has drifted; starts nothing
    Check(Selection),
    /// Look for the programs and kernel features that drills need, and install what is missing
    Doctor(DoctorArgs),
    /// Images of drills in containers
    #[command(subcommand)]
    Images(ImagesCommand),
    /// Remove what killed runs left behind, and write their reports
    Gc(GcArgs),
}

impl Command {
    /// Whether it may come to ask a container engine for something.
    pub fn asks_the_engine(&self) -> bool {
        match self {
            Self::Run(RunArgs { environment, .. }) | Self::Doctor(DoctorArgs { environment, .. }) => {
                !matches!(environment, EnvironmentArg::Local)
            }
            Self::Images(_) | Self::Gc(_) => true,
            Self::Plan(_) | Self::List | Self::Check(_) => false,
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum ImagesCommand {
    /// Build what is not on the container engine yet, from a registry's Debian or from this machine's mirror
    Build(BuildArgs),
}

#[derive(Debug, Args)]
pub struct BuildArgs {
    #[command(flatten)]
    pub selection: Selection,
    /// Push what was built to a registry, as PREFIX/NAME:TAG, with the credentials of `docker login`
    #[arg(long, value_name = "PREFIX")]
    pub push: Option<String>,
    /// Write down what a cluster calls the images, so that `run --env kube --images` needs no engine
    #[arg(long, value_name = "FILE")]
    pub list: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Selection {
    /// Names of scenarios; without any, all of them
    #[arg(value_name = "SCENARIO")]
    pub names: Vec<String>,
}

#[derive(Debug, Args)]
pub struct PlanArgs {
    #[command(flatten)]
    pub selection: Selection,
    /// Leave the errata out: show the runbook exactly as it stands
    #[arg(long)]
    pub as_written: bool,
}

#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub selection: Selection,
    /// Only this drill of each scenario, as `redrill list` names them; can be given several times
    #[arg(long = "drill", value_name = "NAME")]
    pub drills: Vec<String>,
    /// Where the system runs
    #[arg(long = "env", value_enum, default_value_t = EnvironmentArg::Local)]
    pub environment: EnvironmentArg,
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Leave the errata out: run the runbook exactly as it stands
    #[arg(long)]
    pub as_written: bool,
    /// Seeded content and generated names follow from it: the same number gives the same drill
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    pub rng: u64,
    /// How much to seed: small, medium, large or bytes such as 256MiB [default: the scenario's]
    #[arg(long, value_parser = crate::scenario::parse_size)]
    pub size: Option<SeedSize>,
    /// Install what is missing first (as root, on Debian)
    #[arg(long)]
    pub install: bool,
    /// How many drills run at once; each has a place of its own, but they share the machine, and their times show it
    #[arg(long, default_value = "1", value_name = "NUMBER")]
    pub jobs: NonZeroUsize,
    /// Only a part of the drills, the same each time: 2/3 is the second of three
    #[arg(long, value_name = "PART/PARTS")]
    pub shard: Option<Shard>,
    /// Run on redrill's stand-in for this program, which proves less: the verdict is SIMULATED at best; can be given several times
    #[arg(long, value_name = "PROGRAM", value_parser = PossibleValuesParser::new(real_program::simulated_when_asked_for()))]
    pub simulate: Vec<String>,
    /// Print no durations, so that two runs can be compared
    #[arg(long)]
    pub no_times: bool,
}

#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Install what is missing (as root, on Debian)
    #[arg(long)]
    pub install: bool,
    /// Where the drills are to run
    #[arg(long = "env", value_enum, default_value_t = EnvironmentArg::Local)]
    pub environment: EnvironmentArg,
    /// Include what redrill's own tests need
    #[arg(long)]
    pub tests: bool,
    #[command(flatten)]
    pub cluster: ContextArgs,
}

/// Which cluster, with `--env kube`.
#[derive(Debug, Clone, Default, Args)]
pub struct ContextArgs {
    /// With --env kube: the context of the kubeconfig to drill on, for all clusters of the page's or, as CLUSTER=CONTEXT, for one; can be given several times
    #[arg(long = "context", value_name = "[CLUSTER=]CONTEXT")]
    pub contexts: Vec<ContextArg>,
    /// With --env kube: a context that looks like production, named once more
    #[arg(long = "confirm-context", value_name = "CONTEXT")]
    pub confirmed: Vec<String>,
}

/// Which cluster and how, with `--env kube`, and what kind makes one of.
#[derive(Debug, Clone, Default, Args)]
pub struct ClusterArgs {
    #[command(flatten)]
    pub context: ContextArgs,
    /// With --env kube: the cluster is there for this drill alone, so namespaces have the runbook's own names
    #[arg(long)]
    pub dedicated: bool,
    /// With --env kube: what the cluster calls the images, as `images build --list` wrote it down; without it they are looked for on this machine's engine
    #[arg(long, value_name = "FILE")]
    pub images: Option<PathBuf>,
    /// With --env kind: the image of the cluster's node, which decides the version of Kubernetes [default: kind's own]
    #[arg(long, value_name = "IMAGE")]
    pub node_image: Option<String>,
    /// With --env kube: redrill serves the cluster itself, and its images are programs of this machine; for redrill's own tests
    #[arg(long, hide = true)]
    pub served: bool,
}

/// A context, and the page's name of a cluster where it is for that one alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextArg(pub Option<String>, pub String);

impl std::str::FromStr for ContextArg {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Contexts of some providers have a colon or a slash in them, none an equals sign.
        Ok(match text.split_once('=') {
            Some((cluster, context)) => Self(Some(cluster.to_owned()), context.to_owned()),
            None => Self(None, text.to_owned()),
        })
    }
}

#[derive(Debug, Args)]
pub struct GcArgs {
    /// Look on the cluster that --context names, too, as `--env kube` does
    #[arg(long = "env", value_enum)]
    pub environment: Option<EnvironmentArg>,
    #[command(flatten)]
    pub cluster: ContextArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EnvironmentArg {
    /// Sandboxed processes of this machine; needs no engine
    Local,
    /// Containers of an engine of this machine (DOCKER_HOST, else the docker context, else the usual sockets), with images that `redrill images build` has built
    Docker,
    /// A Kubernetes in a container of an engine of this machine, made by kind for each drill and deleted after it
    Kind,
    /// A Kubernetes cluster that exists, named by --context, with images that `redrill images build` has built and its nodes have
    Kube,
}

impl From<EnvironmentArg> for EnvironmentName {
    fn from(argument: EnvironmentArg) -> Self {
        match argument {
            EnvironmentArg::Local => Self::Local,
            EnvironmentArg::Docker => Self::Docker,
            EnvironmentArg::Kind => Self::Kind,
            EnvironmentArg::Kube => Self::Kube,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_run_that_is_not_understood_still_says_where_its_reports_go() {
        let reports = |line: &str| reports_of_run(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        assert_eq!(reports("run taiga --drils x"), Some("reports".into()));
        assert_eq!(reports("--scenarios run run --no-such --reports out"), Some("out".into()));
        assert_eq!(reports("--reports=out run --no-such"), Some("out".into()));
        assert_eq!(reports("plan run"), None);
        assert_eq!(reports("--no-such"), None);
    }

    #[test]
    fn every_option_has_help_without_a_full_stop() {
        for command in Cli::command().get_subcommands() {
            for argument in command.get_arguments().filter(|argument| argument.get_id() != "help") {
                let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
                let name = argument.get_id();
                assert!(!help.is_empty() && !help.ends_with('.'), "{} {name}: {help:?}", command.get_name());
                assert!(help.starts_with(char::is_uppercase), "{} {name}: {help:?}", command.get_name());
            }
        }
    }
}

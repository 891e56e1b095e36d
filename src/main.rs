//! The redrill command.

use std::process::ExitCode;

use clap::Parser;

use redrill::cli::{self, Cli, Command, ImagesCommand};
use redrill::exit_code;
use redrill::{console, doctor, probe, sandbox, store};

fn main() -> ExitCode {
    let mut arguments: Vec<_> = std::env::args_os().skip(1).collect();
    // Before any thread exists: the sandbox's helper forks.
    if let Some(code) = sandbox::dispatch(arguments.iter().cloned()) {
        return code;
    }
    let helper = arguments.first().and_then(|argument| argument.to_str()).unwrap_or_default();
    match helper {
        "__probe" => return probe::main(),
        #[cfg(feature = "docker")]
        redrill::runtime::porter::HELPER => return redrill::runtime::porter::main(),
        #[cfg(feature = "docker")]
        redrill::environment::docker::reaper::HELPER => {
            return redrill::environment::docker::reaper::main(&arguments[1..]);
        }
        #[cfg(feature = "kube")]
        redrill::gate::bait::HELPER => return helper_end(redrill::gate::bait::main(&arguments[1..])),
        #[cfg(feature = "kube")]
        redrill::gate::bait::WAITER => return helper_end(redrill::gate::bait::wait(&arguments[1..])),
        "__charts" => return helper_end(store::charts::main(arguments.split_off(1))),
        "__aws" => {
            return helper_end(store::aws::main(arguments.split_off(1)).map(|answer| {
                if let Some(answer) = answer {
                    console::out(&answer);
                }
            }));
        }
        doctor::by_name::HELPER => {
            let names: Vec<_> = arguments[1..].iter().map(|name| name.to_string_lossy().into_owned()).collect();
            return helper_end(doctor::by_name::main(&names));
        }
        "__s3" => return helper_end(store::s3::main(arguments.split_off(1))),
        _ => {}
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers, not mistakes; a closed pipe is neither.
            let _ = error.print();
            if !error.use_stderr() {
                return ExitCode::SUCCESS;
            }
            if let Some(reports) = cli::reports_of_run(&arguments)
                && let Err(error) = redrill::run::misused(&reports, error.to_string())
            {
                console::error(&error);
            }
            return ExitCode::from(exit_code::ExitCode::Usage.number());
        }
    };
    // A cluster that is lost on purpose refuses connections, and whoever asks it says so in words of his own.
    let filter = std::env::var("REDRILL_LOG").unwrap_or_else(|_| "error,kube_client=off".to_owned());
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .init();
    #[cfg(feature = "docker")]
    if cli.command.asks_the_engine() {
        redrill::runtime::container::settle();
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            console::error(&error);
            return ExitCode::from(exit_code::ExitCode::Unverified.number());
        }
    };
    let code = runtime.block_on(command(cli));
    // Whatever still blocks a thread must not keep the process from ending.
    runtime.shutdown_background();
    ExitCode::from(code.number())
}

fn helper_end(result: Result<(), impl std::error::Error>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            console::error(&error);
            ExitCode::FAILURE
        }
    }
}

async fn command(cli: Cli) -> exit_code::ExitCode {
    use redrill::{commands, interrupt, run};
    match &cli.command {
        Command::Run(arguments) => {
            let interrupt = match interrupt::watch() {
                Ok(interrupt) => interrupt,
                Err(error) => return commands::unverified(&error),
            };
            match run::run(&cli.scenarios, &cli.reports, arguments, interrupt).await {
                Ok(code) => code,
                Err(error) => commands::unverified(&error),
            }
        }
        Command::Plan(arguments) => commands::plan(&cli.scenarios, arguments),
        Command::List => commands::list(&cli.scenarios, &cli.reports),
        Command::Check(selection) => commands::check(&cli.scenarios, selection),
        Command::Doctor(arguments) => commands::doctor(&cli.scenarios, arguments).await,
        Command::Images(ImagesCommand::Build(arguments)) => run::build_images(&cli.scenarios, arguments).await,
        Command::Gc(arguments) => commands::gc(&cli.reports, arguments).await,
    }
}

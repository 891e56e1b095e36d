//! The rules of the house, held by a test: what README and help say is true, and what the code promises to leave alone, it leaves
//! alone.

use std::path::{Path, PathBuf};

use clap::CommandFactory;
use redrill::cli::Cli;

/// Lines of a source file. What is longer is here, with the reason.
const BUDGET: usize = 400;
const OVER_BUDGET: [(&str, usize, &str); 0] = [];
/// Tests are tables more often than not.
const TEST_BUDGET: usize = 620;

/// Who may start programs of the machine: everything else goes through them.
const SPAWNERS: [&str; 4] =
    ["src/command.rs", "src/sandbox/link.rs", "src/sandbox/namespaces.rs", "src/sandbox/remove.rs"];

/// Waiting for time to pass is right where time is the contract, or between two looks at a condition with a deadline.
const SLEEPERS: [(&str, &str); 16] = [
    ("src/database/postgres.rs", "between two tries of an address that nothing leads to yet, with a deadline"),
    ("src/gate/bait.rs", "between two tries of an address that must not answer, with a deadline"),
    ("src/probe/login.rs", "between two tries of a page that does not answer yet, with a deadline"),
    ("src/probe/ledger.rs", "between two tries to write while the database is away, with a deadline"),
    ("src/probe/archive.rs", "between two looks at whether a segment is shipped, which nothing tells, with a deadline"),
    ("src/drill/pace.rs", "between two looks at whether the cluster has settled, with a deadline"),
    ("src/drill/provision.rs", "between two looks at whether a drill is closed, with a deadline"),
    ("src/drill/loss_proof.rs", "between two looks at whether the data is gone, with a deadline"),
    ("src/store/s3.rs", "after accept(2) failed for want of descriptors"),
    ("src/cluster/front.rs", "after accept(2) failed for want of descriptors"),
    ("src/cluster/kubelet/probes.rs", "a probe's period and initial delay, as the manifest says"),
    ("src/cluster/kubelet/pod.rs", "back-off before a container starts again, as a kubelet's"),
    ("src/cluster/kubelet/container.rs", "grace periods, `sleep` hooks and back-off, as a kubelet's"),
    ("src/database/cockroach_schedule.rs", "between two looks at a schedule's jobs, with a deadline"),
    ("src/environment/docker/reaper.rs", "between two looks at what an engine still makes, with a deadline"),
    ("src/kubernetes.rs", "between two looks at a condition, with a deadline"),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Every Rust file below `folder`, by its path from the root, in order.
fn sources(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    collect(&root().join(folder), &mut found);
    found.sort();
    let named = |path: PathBuf| {
        let name = path.strip_prefix(root()).unwrap().display().to_string();
        let text = read(&name);
        (name, text)
    };
    found.into_iter().map(named).collect()
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Lines of code outside tests and comments, numbered: `file:line: text` for those in which `is_it`.
fn lines_with(is_it: impl Fn(&str, &str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for (name, text) in sources("src") {
        if name.ends_with("/tests.rs") {
            continue;
        }
        // House rule, held below: tests come last in a file.
        let code = text.lines().enumerate().take_while(|(_, line)| line.trim() != "#[cfg(test)]");
        for (index, line) in code.filter(|(_, line)| !line.trim_start().starts_with("//")) {
            if is_it(&name, line) {
                found.push(format!("{name}:{}: {}", index + 1, line.trim()));
            }
        }
    }
    found
}

fn nothing(found: Vec<String>, way_out: &str) {
    assert!(found.is_empty(), "{way_out}\n{}", found.join("\n"));
}

#[test]
fn a_source_file_fits_its_budget() {
    let budget = |name: &str| {
        let exception = OVER_BUDGET.iter().find(|(file, _, _)| *file == name);
        exception.map_or(if name.starts_with("src/") { BUDGET } else { TEST_BUDGET }, |(_, lines, _)| *lines)
    };
    let files = sources("src").into_iter().chain(sources("tests")).chain(sources("benches"));
    let over = files.filter(|(name, text)| text.lines().count() > budget(name));
    let over = over.map(|(name, text)| format!("{name}: {} lines", text.lines().count())).collect();
    nothing(over, "split it by what it is about, or give it a reason above");
    for (name, _, reason) in OVER_BUDGET {
        assert!(read(name).lines().count() > BUDGET && !reason.is_empty(), "{name} needs no exception any more");
    }
}

#[test]
fn a_file_is_named_for_what_it_holds() {
    let empty = ["mod.rs", "util.rs", "utils.rs", "helper.rs", "helpers.rs", "common.rs", "misc.rs"];
    let files = sources("src").into_iter().chain(sources("tests"));
    let found = files.filter(|(name, _)| empty.contains(&name.rsplit('/').next().unwrap())).map(|(name, _)| name);
    nothing(found.collect(), "name it after the field; `foo.rs` beside `foo/` instead of mod.rs");
}

#[test]
fn tests_come_last_in_a_file() {
    let found = sources("src").into_iter().filter(|(_, text)| {
        let behind = text.lines().skip_while(|line| *line != "#[cfg(test)]").skip(1);
        behind.filter(|line| !line.starts_with([' ', '}', '#']) && !line.is_empty()).nth(1).is_some()
    });
    nothing(found.map(|(name, _)| name).collect(), "move `#[cfg(test)] mod tests` to the end");
}

#[test]
fn only_the_console_prints() {
    let prints = ["println!", "eprintln!", "print!(", "dbg!", "io::stdout()", "io::stderr()"];
    // The probe's stdout is a protocol; a logger is given a stream, and what a forked child says while it cleans up has no
    // console to go through.
    let others = ["src/console.rs", "src/probe/serve.rs", "src/sandbox/remove.rs"];
    let found = lines_with(|name, line| prints.iter().any(|print| line.contains(print)) && !others.contains(&name));
    nothing(found, "hand it to console.rs");
}

#[test]
fn only_a_few_places_start_programs() {
    let starts = ["Command::new(", "fork()", "execve", "posix_spawn"];
    let allowed =
        |name: &str| SPAWNERS.contains(&name) || name.starts_with("src/sandbox/") || name == "src/session/pty.rs";
    let found = lines_with(|name, line| starts.iter().any(|start| line.contains(start)) && !allowed(name));
    nothing(found, "go through command.rs or the sandbox");
}

#[test]
fn what_cannot_happen_is_marked_and_nothing_is_left_to_do() {
    let panics = [".unwrap()", ".expect(", "panic!(", "unreachable!("];
    // An `expect` or `unreachable!` says in its text why it cannot happen; an `unwrap` says nothing.
    let says_why =
        |line: &str| (line.contains(".expect(\"") || line.contains("unreachable!(\"")) && !line.contains("panic!(");
    let found = lines_with(|_, line| panics.iter().any(|panic| line.contains(panic)) && !says_why(line));
    nothing(found, "give an error, or say in an `expect` why it cannot happen");
    let found = lines_with(|_, line| line.contains("todo!") || line.contains("unimplemented!"));
    nothing(found, "finish it");
}

#[test]
fn nothing_sleeps_without_a_reason() {
    let found = lines_with(|name, line| {
        line.contains("sleep(") && !line.contains("fn ") && !SLEEPERS.iter().any(|(file, _)| *file == name)
    });
    nothing(found, "wait for a condition with a deadline");
    for (name, reason) in SLEEPERS {
        assert!(read(name).contains("sleep(") && !reason.is_empty(), "{name} sleeps no more: take it out of the list");
    }
}

/// The block behind `<!-- command: NAME -->`, as .ci/run takes it.
fn command_of(name: &str) -> String {
    let readme = read("README.md");
    let (_, rest) = readme.split_once(&format!("<!-- command: {name} -->\n```\n")).expect("marked block");
    rest.split_once("\n```").expect("end of the block").0.to_owned()
}

#[test]
fn readmes_commands_and_options_exist() {
    let known = |arguments: &str| {
        let words = std::iter::once("redrill").chain(arguments.split_whitespace());
        Cli::command().try_get_matches_from(words).unwrap_or_else(|error| panic!("{arguments}: {error}"));
    };
    for name in ["drill", "test"] {
        let command = command_of(name);
        let ours =
            command.split("&&").filter_map(|part| part.split_once("cargo run -- ")).map(|(_, arguments)| arguments);
        ours.for_each(known);
    }
    let readme = read("README.md");
    let mut seen = 0;
    for code in readme.split('`').skip(1).step_by(2).filter_map(|code| code.strip_prefix("redrill ")) {
        if !code.contains(['<', '[', '_']) {
            known(code);
            seen += 1;
        }
    }
    assert!(seen > 4, "README.md shows the commands");
}

#[test]
fn every_link_of_the_documents_leads_somewhere() {
    for file in ["README.md", "docs/design.md", "docs/scenario.md", "reports/README.md"] {
        let folder = root().join(file).parent().unwrap().to_owned();
        for link in read(file).split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
            let path = link.split('#').next().unwrap();
            let outside = link.starts_with("http") || path.is_empty();
            assert!(outside || folder.join(path).exists(), "{file}: {link} leads nowhere");
        }
    }
}

#[test]
fn readme_counts_what_adopting_a_system_takes() {
    let readme = read("README.md");
    for (file, said) in [
        ("examples/library/scenario.yaml", "is a scenario.yaml of 27 lines"),
        ("examples/library/runbook.md", "(examples/library/runbook.md), 14 lines"),
    ] {
        assert!(readme.contains(said), "README.md does not say `{said}`");
        let lines = read(file).lines().count();
        assert!(said.contains(&format!(" {lines} lines")), "{file} has {lines} lines, and README.md says `{said}`");
    }
    let mut there: Vec<_> =
        std::fs::read_dir(root().join("examples/library")).unwrap().map(|file| file.unwrap().file_name()).collect();
    there.sort();
    assert_eq!(there, ["runbook.md", "scenario.yaml", "system.yaml"], "nothing else");
}

#[test]
fn the_design_names_every_module_and_no_other() {
    let design = read("docs/design.md");
    let library = read("src/lib.rs");
    let modules: Vec<&str> =
        library.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    let map = design.split("## Module map").nth(1).expect("a module map").split("\n## ").next().unwrap();
    let named: Vec<&str> = map.split('`').skip(1).step_by(2).filter_map(|name| name.strip_suffix(".rs")).collect();
    for module in &modules {
        assert!(named.contains(module), "docs/design.md does not name {module}.rs");
    }
    for name in named {
        assert!(name == "main" || name == "lib" || modules.contains(&name), "there is no src/{name}.rs");
    }
}

#[test]
fn the_scenario_reference_names_every_field_that_is_read() {
    let text = sources("src/scenario").into_iter().map(|(_, text)| text).collect::<String>();
    let code = text.replace("\n            ", "");
    let mut fields: Vec<&str> = Vec::new();
    for reader in ["fields.required(\"", "fields.optional(\"", "fields.or_default(\""] {
        fields.extend(code.split(reader).skip(1).filter_map(|rest| rest.split_once('"')).map(|(field, _)| field));
    }
    fields.sort_unstable();
    fields.dedup();
    assert!(fields.len() > 40, "the readers are found: {fields:?}");
    let page = read("docs/scenario.md");
    let code = page.split('`').skip(1).step_by(2);
    let spoken: Vec<&str> = code.flat_map(|code| code.split(|c: char| !c.is_alphanumeric() && c != '-')).collect();
    for field in fields {
        assert!(spoken.contains(&field), "docs/scenario.md does not explain `{field}`");
    }
}

//! What a scenario says of single steps, in plans: errata of some drills, things that the page leaves out, editors that a command
//! opens; what the workstation has for them; and what is wrong with any of it, each with its line.

use std::path::Path;

use redrill::outcome::TextLabel;
use redrill::plan::{Action, AsWritten, DrillPlan, Plan, PlannedStep};
use redrill::problem::Problems;
use redrill::runbook::Runbook;
use redrill::scenario::Scenario;

const PAGE: &str = "\
# Save

1. Save:
   ```
   sh save.sh
   rm -rf old
   ```

# Bring back

1. Load:
   ```
   load latest
   ```
2. `kubectl -n shop edit secret db`
3. Tell the others.
";

const SCENARIO: &str = "\
name: shop
runbook: page.md
system: { manifests: [system], namespace: shop }
databases:
  shop:
    kind: postgres
    host: db.shop
    port: 5432
    database: shop
    user: shop
    password: { secret: shop/db, key: password }
seed: { databases: [shop], size: small }
loss: { claims: [shop/data] }
drills:
  plain: { backup: [{ procedure: Save }], restore: [{ procedure: Bring back }] }
  moment: { backup: [{ procedure: Save }], restore: [{ procedure: Bring back }] }
";

/// The plan of the scenario with more at its end, or what is wrong with it.
fn plan_as(more: &str, as_written: AsWritten) -> Result<Plan, Problems> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("system")).unwrap();
    std::fs::write(folder.path().join("page.md"), PAGE).unwrap();
    std::fs::create_dir(folder.path().join("repository")).unwrap();
    std::fs::write(folder.path().join("repository/save.sh"), "true\n").unwrap();
    std::os::unix::fs::symlink("repository", folder.path().join("a link")).unwrap();
    std::fs::create_dir(folder.path().join("linked")).unwrap();
    std::os::unix::fs::symlink("save.sh", folder.path().join("linked/run.sh")).unwrap();
    let file = folder.path().join("scenario.yaml");
    let scenario = Scenario::parse(&file, &format!("{SCENARIO}{more}"), jiff::civil::date(2026, 11, 21))?;
    let runbook = Runbook::from_markdown(Path::new("page.md"), PAGE.to_owned());
    Plan::build(&scenario, &runbook, as_written)
}

fn plan(more: &str) -> Plan {
    plan_as(more, AsWritten::No).unwrap_or_else(|problems| panic!("{problems}"))
}

fn drill<'p>(plan: &'p Plan, name: &str) -> &'p DrillPlan {
    plan.drills.iter().find(|drill| drill.name == name).unwrap()
}

fn rows(steps: &[PlannedStep]) -> Vec<(usize, TextLabel, &str)> {
    steps.iter().map(|step| (step.source.line, step.label, step.text.as_str())).collect()
}

/// Every problem, with the lines behind the scenario's common part counted from 1.
#[track_caller]
fn problems(more: &str) -> Vec<String> {
    let common = SCENARIO.lines().count();
    let problems = plan_as(more, AsWritten::No).expect_err("it is wrong on purpose");
    let said = |problem: &redrill::problem::Problem| {
        assert!(problem.source.file.ends_with("scenario.yaml"), "{problem}");
        format!("{}: {}", problem.source.line - common, problem.message)
    };
    problems.iter().map(said).collect()
}

const ERRATUM: &str = "
errata:
  - id: a
    reason: r
    answer: a
    versions: kubectl 1+
";

#[test]
fn an_erratum_of_one_drill_leaves_the_others_as_the_page_has_them() {
    let more = "
errata:
  - { id: latest, reason: r, answer: a, versions: kubectl 1+, drills: [plain],
      edits: [{ step: { procedure: Bring back, text: latest }, replace: newest }] }
  - { id: moment, reason: r, answer: a, versions: kubectl 1+, drills: [moment],
      edits: [{ step: { procedure: Bring back, text: latest }, replace: 12:00 }] }
";
    let plan = plan(more);
    for (name, id, text) in [("plain", "latest", "load newest"), ("moment", "moment", "load 12:00")] {
        let drill = drill(&plan, name);
        assert_eq!(drill.restore[0].text, text);
        let ids: Vec<&str> = drill.errata.iter().map(|erratum| erratum.id.as_str()).collect();
        assert_eq!(ids, [id]);
    }
    let both = more.replace("drills: [moment]", "drills: [plain, moment]");
    assert_eq!(problems(&both), ["6: erratum `moment` changes the same words as `latest`: make them one"]);
    let unknown = more.replace("drills: [moment]", "drills: [momemt]");
    assert_eq!(problems(&unknown), ["5: no drill `momemt` is declared in this file (did you mean `moment`?)"]);
}

#[test]
fn what_the_page_promises_and_does_not_tell_is_labelled_and_left_out_as_written() {
    let more = format!(
        "{ERRATUM}    undocumented: true
    drills: [moment]
    edits: [{{ step: {{ procedure: Bring back, text: latest }}, insert-before: [stop, choose 12:00] }}]
"
    );
    let plan = plan(&more);
    let loaded =
        [(13, TextLabel::Verbatim, "load latest"), (15, TextLabel::Verbatim, "kubectl -n shop edit secret db")];
    assert_eq!(rows(&drill(&plan, "plain").restore), loaded);
    assert!(drill(&plan, "plain").errata.is_empty());
    let inserted = [(13, TextLabel::Undocumented, "stop"), (13, TextLabel::Undocumented, "choose 12:00")];
    assert_eq!(rows(&drill(&plan, "moment").restore), [&inserted[..], &loaded[..]].concat());
    assert_eq!(drill(&plan, "moment").errata.len(), 1);
    assert!(plan.to_string().contains("page.md:13 undocumented stop  [a]"), "{plan}");
    let as_written = plan_as(&more, AsWritten::Yes).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(rows(&drill(&as_written, "moment").restore), loaded);
}

#[test]
fn a_command_that_is_taken_out_stays_in_the_plan_and_its_neighbours_run() {
    let more = format!("{ERRATUM}    edits: [{{ step: {{ procedure: Save, text: rm -rf }}, remove: true }}]\n");
    let plan = plan(&more);
    let saved = &drill(&plan, "plain").backup;
    assert_eq!(rows(saved), [(5, TextLabel::Verbatim, "sh save.sh"), (6, TextLabel::Corrected, "rm -rf old")]);
    assert_eq!((&saved[0].action, &saved[1].action), (&Action::Shell, &Action::Removed { erratum: "a".to_owned() }));
    assert_eq!(drill(&plan, "plain").errata[0].correction, "not run");
    assert!(plan.uncovered.iter().all(|note| !note.what.contains("rm -rf")), "{:?}", plan.uncovered);
    assert!(plan.to_string().contains("page.md:6 corrected    rm -rf old  (not run)  [a]"), "{plan}");
    let as_written = plan_as(&more, AsWritten::Yes).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(drill(&as_written, "plain").backup.iter().all(|step| step.action == Action::Shell));
}

#[test]
fn an_erratum_that_says_two_things_at_once_is_refused() {
    let edits = |head: &str, edits: &str| format!("{ERRATUM}{head}    edits: [{edits}]\n");
    let step = "step: { procedure: Save, text: rm -rf }";
    for (more, says) in [
        (edits("", &format!("{{ {step}, remove: false }}")), "7: an edit that does nothing: write `remove: true`"),
        (edits("", &format!("{{ {step}, remove: yes }}")), "7: `true` or `false` is needed here, this is `yes`"),
        (
            edits("", &format!("{{ {step}, remove: true, replace: x }}")),
            "7: only one of replace, remove, insert-before",
        ),
        (
            edits("", &format!("{{ {step}, remove: true }}, {{ {step}, replace: rm }}")),
            "7: erratum `a` changes a command that `a` takes out: leave one of them",
        ),
        (
            edits("    undocumented: true\n", &format!("{{ {step}, remove: true }}")),
            "8: `remove` changes what the page says, and this is about what it does not say: insert the commands",
        ),
        (
            edits("    undocumented: [a]\n", &format!("{{ {step}, insert-after: ls }}")),
            "7: `true` or `false` is needed",
        ),
    ] {
        let problems = problems(&more);
        assert!(problems.len() == 1 && problems[0].starts_with(says), "{says}: {problems:?}");
    }
}

const EDITOR: &str = "
bindings:
  - step: { procedure: Bring back, item: 2 }
    editor: printf 's|x|%s|' THE_PASSWORD | sed -i -f - \"$1\"
    human: { time: 1m, source: our estimate }
slots:
  - place: THE_PASSWORD
    from: { output: { procedure: Bring back, item: 1 }, pattern: 'password: (.*)' }
";

#[test]
fn an_editor_that_a_command_opens_is_a_script_with_places_for_values() {
    let plan = plan(EDITOR);
    let edit = &drill(&plan, "plain").restore[1];
    assert_eq!((edit.text.as_str(), edit.label), ("kubectl -n shop edit secret db", TextLabel::Equivalent));
    let filled = edit.fill(|_| Some(redrill::redact::Secret::new("aGVsbG8="))).unwrap();
    assert_eq!(filled.text.expose(), edit.text);
    let script = "printf 's|x|%s|' aGVsbG8= | sed -i -f - \"$1\"";
    assert_eq!(filled.content.unwrap().expose(), script);
    assert!(plan.to_string().contains("edit secret db  (a script does what is done in the editor)"), "{plan}");
}

#[test]
fn an_editor_that_cannot_be_bound_is_refused() {
    let with = |old: &str, new: &str| {
        assert_eq!(EDITOR.matches(old).count(), 1, "{old}");
        EDITOR.replace(old, new)
    };
    let from = "    from: { output: { procedure: Bring back, item: 1 }, pattern: 'password: (.*)' }\n";
    let human = "    human: { time: 1m, source: our estimate }\n";
    for (more, says) in [
        (with(human, ""), "4: an edit takes a person time: say `human` with its `time` and `source`"),
        (with(from, ""), "7: slot `THE_PASSWORD` has no source: say `from:` with a value"),
        (with("place: THE_PASSWORD", "place: PASSWORD"), "7: slot `PASSWORD` is in no step any more"),
        (with("item: 2 }", "item: 3 }"), "3: binding: the step is no command that could open an editor: `edit` names"),
        (with("item: 1 }", "item: 2 }"), "7: slot `THE_PASSWORD` of page.md:15 takes what page.md:15 prints"),
        (
            with("    editor:", "    edit: a\n    editor:"),
            "5: only one of `run`, `compare`, `edit`, `editor` and `provided`",
        ),
        (with(human, &format!("{human}    script: sed\n")), "6: unknown field `script`"),
        (with("    editor:", "    script: sed\n    editor:"), "4: unknown field `script`"),
    ] {
        let problems = problems(&more);
        assert!(problems.iter().any(|problem| problem.starts_with(says)), "{says}: {problems:?}");
    }
}

#[test]
fn a_workstation_has_a_folder_of_plain_files() {
    plan("workstation: { folder: repository }\n");
    for (folder, says) in [
        ("repositroy", "1: folder of the workstation `repositroy` is not there: looked for "),
        ("page.md", "page.md is no folder: name the one to work in"),
        ("a link", "1: `a link` cannot be a folder's name on the workstation: take plain characters"),
        ("linked", "linked/run.sh is neither a file nor a folder: put the file itself there"),
    ] {
        let problems = problems(&format!("workstation: {{ folder: {folder} }}\n"));
        assert!(problems.len() == 1 && problems[0].contains(says), "{says}: {problems:?}");
    }
    let nothing = "1: say what it has: a `folder`, `packages`, a version of `kubectl`";
    assert_eq!(problems("workstation: { }\n"), [nothing]);
    plan("workstation: { packages: [git, libstdc++6] }\n");
    let problems = problems("workstation: { packages: [git, 'jq; true'] }\n");
    assert_eq!(problems, ["1: `jq; true` is no name of a Debian package"]);
}

#[test]
fn a_workstation_has_the_kubectl_that_the_teams_operators_have() {
    for versions in ["'1.20'", "1.31.4", "1.31-1.33", "1.30+"] {
        plan(&format!("workstation: {{ kubectl: {versions} }}\n"));
    }
    let wrong = "1: `newest` is no version of kubectl: write `1.31`, `1.31.4`, `1.31-1.33` or `1.31+`";
    assert_eq!(problems("workstation: { kubectl: newest }\n"), [wrong]);
}

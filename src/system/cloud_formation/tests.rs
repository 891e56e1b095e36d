use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const TEMPLATE: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/scenarios/rocket-chat/infrastructure/roles/rocket-chat/files/chat.cf.yaml"
));

fn identity() -> Identity {
    Identity { stack: "chat".to_owned(), region: "eu-west-2".to_owned() }
}

fn read(text: &str) -> Result<Stack, Vec<String>> {
    let values = ["DbPassword", "AdminPassword"].map(|name| (name.to_owned(), "throwaway".to_owned())).into();
    Stack::read("chat.cf.yaml", text, identity(), Values::Known(&values))
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn chat() -> Stack {
    read(TEMPLATE).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

/// The line that has this text, from 1.
fn line_of(text: &str, of: &str) -> usize {
    text.lines().position(|line| line.contains(of)).expect(of) + 1
}

#[test]
fn the_chat_of_the_page_is_a_service_with_two_volumes_and_a_plan_for_both() {
    let stack = chat();
    let (_, service) = stack.services.first_key_value().unwrap();
    assert_eq!((&*service.name, &*service.cluster, service.desired), ("chat", "chat", 1));
    assert_eq!((service.minimum_healthy, service.maximum), (100, 200));
    let task = &stack.tasks[&service.task];
    assert_eq!(task.containers.iter().map(|container| &*container.name).collect::<Vec<_>>(), ["chat-db", "chat"]);
    let root = |index: usize| match &task.volumes[index].source {
        VolumeSource::FileSystem { file_system, root } => format!("{file_system} {root}"),
        VolumeSource::Scratch => panic!("no file system"),
    };
    assert_eq!([root(0), root(1)], ["DbStorage /", "DumpStorage /"]);
    let url = "mongodb://rocketchat:throwaway@chat-db:27017/rocketchat?authSource=admin";
    assert_eq!(task.containers[1].environment["MONGO_URL"], url);
    let plan = &stack.plans["NightlyBackup"];
    assert_eq!((&*plan.name, &*plan.vault), ("chat-nightly", "chat"));
    assert_eq!(plan.file_systems, ["DbStorage", "DumpStorage"]);
    assert!(stack.needs_capability() && stack.parameters["DbPassword"] && !stack.parameters["DbUser"]);
    assert_eq!(stack.images["rocketchat/mongo:4.2"][0].line, line_of(TEMPLATE, "Image: !Ref DbImage"));
}

#[test]
fn the_lines_of_the_pages_diff_are_where_it_says() {
    let lines: Vec<&str> = TEMPLATE.lines().skip(222).take(6).map(str::trim).collect();
    let expected = [
        "- Name: chat-db",
        "EFSVolumeConfiguration:",
        "FilesystemId: !Ref DbStorage",
        "- Name: chat-dump",
        "EFSVolumeConfiguration:",
        "FilesystemId: !Ref DumpStorage",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn a_new_root_directory_is_a_change_and_a_comment_is_none() {
    let moved =
        TEMPLATE.replacen("!Ref DbStorage\n   - Name", "!Ref DbStorage\n      RootDirectory: old\n   - Name", 1);
    let moved = read(&moved).unwrap();
    assert!(!moved.is_same_as(&chat()));
    let volume = &moved.tasks["ChatTask"].volumes[0].source;
    let expected = VolumeSource::FileSystem { file_system: "DbStorage".to_owned(), root: "old".to_owned() };
    assert_eq!(volume, &expected);
    assert!(read(&format!("# a comment\n{TEMPLATE}")).unwrap().is_same_as(&chat()));
}

#[test]
fn whatever_cannot_be_honoured_is_named_with_its_line_and_all_at_once() {
    let edits = [
        ("NetworkMode: bridge", "NetworkMode: awsvpc", "`NetworkMode: awsvpc` cannot be honoured"),
        ("LaunchType: EC2", "LaunchType: FARGATE", "`LaunchType: FARGATE` cannot be honoured"),
        ("Value: !Ref DbPassword", "Value: !Ref DbPasword", "no parameter and no resource is called `DbPasword`"),
        ("FilesystemId: !Ref DumpStorage", "FilesystemId: fs-1", "`fs-1` is no file system of the template"),
        ("StopTimeout: 30", "StopTimeOut: 30", "`StopTimeOut` cannot be honoured (did you mean `StopTimeout`?)"),
        ("HostPort: 3000 }", "HostPort: 80 }", "port 80 of the machine has to be the container's own"),
        ("Type: AWS::Logs::LogGroup", "Type: AWS::Lambda::Function", "`AWS::Lambda::Function` cannot be honoured"),
        ("TargetBackupVault: !Ref BackupVault", "TargetBackupVault: x", "no vault of the template is called `x`"),
        ("RetentionInDays: 30", "RetentionInDays: !ImportValue x", "`Fn::ImportValue` means nothing here"),
    ];
    let mut text = TEMPLATE.to_owned();
    for (from, to, _) in edits {
        assert_eq!(text.matches(from).count(), 1, "{from}");
        text = text.replace(from, to);
    }
    let problems = read(&text).expect_err("nine problems");
    assert_eq!(problems.len(), edits.len(), "{problems:#?}");
    for (_, to, message) in edits {
        let place = format!("chat.cf.yaml:{}: ", line_of(&text, to));
        let found = problems.iter().any(|problem| problem.starts_with(&place) && problem.contains(message));
        assert!(found, "{place}{message}\n{problems:#?}");
    }
}

#[test]
fn a_parameter_without_a_value_is_a_problem_and_one_that_is_known_later_is_none() {
    let without = Stack::read("t", TEMPLATE, identity(), Values::Known(&BTreeMap::new())).expect_err("no password");
    assert!(without.to_string().contains("`DbPassword` has neither a value nor a Default"), "{without}");
    assert!(
        Stack::read("t", TEMPLATE, identity(), Values::Named(&["DbPassword", "AdminPassword"].map(str::to_owned)))
            .is_ok()
    );
}

#[test]
fn functions_give_what_the_service_gives() {
    let value = |text: &str| {
        let template = format!(
            "Mappings: {{m: {{a: {{b: found}}}}}}\nConditions: {{same: !Equals [a, a], other: !Not [!Condition same]}}\n\
             Resources:\n  F: {{Type: AWS::EFS::FileSystem}}\n  L:\n    Type: AWS::Logs::LogGroup\n    Properties:\n      LogGroupName: {text}\n"
        );
        let stack = read(&template).unwrap_or_else(|problems| panic!("{text}: {problems:#?}"));
        stack.resources["L"].1.get("LogGroupName").cloned().unwrap_or_default()
    };
    assert_eq!(value("!Sub 'a-${AWS::Region}-${!b}'"), "a-eu-west-2-${b}");
    assert_eq!(value("!Sub ['${x}/${F}', {x: !Ref AWS::StackName}]"), format!("chat/{}", identity().file_system("F")));
    assert_eq!(value("!Join ['-', [a, !Select [1, !Split [',', 'x,y']]]]"), "a-y");
    assert_eq!(value("!If [same, one, two]"), "one");
    assert_eq!(value("{'Fn::If': [other, one, two]}"), "two");
    assert_eq!(value("!FindInMap [m, a, b]"), "found");
    assert_eq!(value("!If [other, one, !Ref AWS::NoValue]"), Value::Null);
    assert!(value("!GetAtt F.Arn").as_str().unwrap().starts_with("arn:aws:elasticfilesystem:eu-west-2:"));
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(text in "[ -~\n]{0,120}") {
        let _ = read(&text);
    }

    #[test]
    fn a_template_with_lines_taken_out_is_read_or_has_problems_with_lines_of_its_own(from in 0usize..240, count in 0usize..12) {
        let lines: Vec<&str> = TEMPLATE.lines().enumerate()
            .filter(|(index, _)| *index < from || *index >= from + count).map(|(_, line)| line).collect();
        for problem in read(&lines.join("\n")).err().into_iter().flatten() {
            let line = problem.strip_prefix("chat.cf.yaml:").and_then(|rest| rest.split(':').next()?.parse::<usize>().ok());
            prop_assert!(line.is_some_and(|line| line >= 1 && line <= lines.len()), "{}", problem);
        }
    }

    #[test]
    fn a_problem_is_where_it_was_made_however_much_stands_before_it(blank in 0usize..40) {
        let text = format!("{}{}", "# more\n".repeat(blank), TEMPLATE.replace("LaunchType: EC2", "LaunchType: FARGATE"));
        let problems = read(&text).expect_err("FARGATE");
        let place = format!("chat.cf.yaml:{}: ", line_of(&text, "FARGATE"));
        prop_assert!(problems.len() == 1 && problems[0].starts_with(&place), "{:?}", problems);
    }
}

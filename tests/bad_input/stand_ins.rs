//! Programs that no registry carries: what an image copies in their place, and what the scenario says of it, are the same.

use std::collections::BTreeSet;

use redrill::outcome::ProgramLabel;
use redrill::system::image::PullPolicy;

use crate::shop::Shop;

const IMAGE: &str = "program: rewritten";

/// The shop with an image that copies its own `cockroach`, and what stands for mongod elsewhere.
fn copying(names: &[&str]) -> Shop {
    let shop = Shop::new();
    shop.write("image/cockroach", "#!/bin/sh\n");
    let copies: String = names.iter().map(|name| format!("COPY {name} /opt/{name}\n")).collect();
    shop.write("image/Dockerfile", &format!("FROM debian\n{copies}"));
    shop
}

#[test]
fn what_stands_for_a_program_is_simulated_until_the_real_one_is_known_to_be_there() {
    for name in ["cockroach", "mongod"] {
        let shop = copying(&[name]).with("scenario.yaml", IMAGE, &format!("real: {name}"));
        let checked = shop.check().unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(checked.images["shop:1"].label, ProgramLabel::Simulated, "{name}");
    }
}

#[test]
fn a_stand_in_that_is_called_real_rewritten_or_nothing_is_refused() {
    for said in ["program: real", "program: rewritten", "program: simulated"] {
        let shop = copying(&["mongod", "cockroach"]);
        let shop = if said == IMAGE { shop } else { shop.with("scenario.yaml", IMAGE, said) };
        let problem = |name: &str| {
            format!(
                "scenario.yaml:7: the image's Dockerfile copies `{name}`, which stands for the real one: say `real: {name}` in place of \
                 `program`, or copy a file of another name"
            )
        };
        assert_eq!(shop.problems(), [problem("cockroach"), problem("mongod")]);
    }
}

#[test]
fn a_real_program_whose_place_nothing_keeps_is_refused() {
    let shop = Shop::new().with("scenario.yaml", IMAGE, "real: mongod");
    let expected =
        "scenario.yaml:7: the image's Dockerfile copies no file called `mongod`, whose place the real one could take";
    assert_eq!(shop.problems(), [expected]);
    // Only of what Go builds redrill has one of its own.
    let shop = Shop::new().with("scenario.yaml", IMAGE, "real: cockroach");
    shop.write("image/Dockerfile", "FROM debian\nCOPY cockroach /opt/cockroach\n");
    let problems = shop.problems();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].contains("image/Dockerfile:2: `COPY cockroach`: no such file in "), "{problems:?}");
}

#[test]
fn an_image_that_exists_copies_no_stand_in() {
    let binding = "{ folder: image, program: rewritten }";
    let shop = Shop::new().with("scenario.yaml", binding, "{ program: simulated }");
    let checked = shop.check().unwrap_or_else(|problems| panic!("{problems}"));
    assert!(checked.images.is_empty());
    let existing = &checked.existing["shop:1"];
    assert_eq!(existing.policies, BTreeSet::from([PullPolicy::IfNotPresent]));
    assert_eq!((existing.places[0].line, existing.binding.line), (19, 7));

    let shop = Shop::new().with("scenario.yaml", binding, "{ real: mongod }");
    let expected =
        "scenario.yaml:7: `real` names a file that a Dockerfile copies: name its `folder`, or say `program: real`";
    assert_eq!(shop.problems(), [expected]);
}

#[test]
fn an_image_has_either_a_label_or_a_real_program() {
    for (said, problem) in [
        ("program: real, real: mongod", "only one of program, real can stand here"),
        ("", "one of program, real is missing here"),
        ("real: mongodb", "unknown `mongodb` (did you mean `mongod`?)"),
    ] {
        let shop = copying(&["mongod"]).with("scenario.yaml", IMAGE, said);
        assert_eq!(shop.problems(), [format!("scenario.yaml:7: {problem}")]);
    }
}

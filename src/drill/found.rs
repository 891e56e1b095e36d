//! Finds a slot's value in what a step printed.

use regex::Regex;

use crate::scenario::Find;

/// Every value that fits; the caller wants one.
pub fn values(printed: &str, find: &Find) -> Result<Vec<String>, regex::Error> {
    match find {
        Find::Column(title) => Ok(column(printed, title).into_iter().map(str::to_owned).collect()),
        Find::Pattern(pattern) => {
            let regex = Regex::new(pattern)?;
            let groups = regex.captures_iter(printed).filter_map(|captures| captures.get(1));
            Ok(groups.map(|group| group.as_str().to_owned()).collect())
        }
    }
}

/// What stands below a title in the rows of the first table that has it. Columns are two blanks apart or more, as in
/// what `kubectl get` prints; the table ends with the output or an empty line.
fn column<'p>(printed: &'p str, title: &str) -> Vec<&'p str> {
    let mut lines = printed.lines().map(str::trim_end);
    let Some(at) = lines.by_ref().find_map(|line| column_start(line, title)) else { return Vec::new() };
    let rows = lines.take_while(|line| !line.is_empty());
    let cell = |row: &'p str| row.get(at..)?.split("  ").next().map(str::trim).filter(|cell| !cell.is_empty());
    rows.filter_map(cell).collect()
}

fn column_start(header: &str, title: &str) -> Option<usize> {
    let stands_alone = |at: &usize| {
        let (before, after) = (&header[..*at], &header[at + title.len()..]);
        (before.is_empty() || before.ends_with("  ")) && (after.is_empty() || after.starts_with("  "))
    };
    header.match_indices(title).map(|(at, _)| at).find(stands_alone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TABLE: &str = concat!(
        "NAME        SCHEDULE    TIMEZONE   SUSPEND   ACTIVE   LAST SCHEDULE   AGE\n",
        "db-backup   0 3 * * 0   <none>     False     0        <none>          5s\n",
    );

    #[test]
    fn the_single_row_of_a_table_gives_any_of_its_columns() {
        assert_eq!(column(TABLE, "NAME"), ["db-backup"]);
        assert_eq!(column(TABLE, "SCHEDULE"), ["0 3 * * 0"]);
        assert_eq!(column(TABLE, "LAST SCHEDULE"), ["<none>"]);
        assert_eq!(column(TABLE, "AGE"), ["5s"]);
        assert_eq!(column(TABLE, "STATUS"), [""; 0]);
    }

    #[test]
    fn no_rows_and_two_rows_are_told_from_one() {
        assert_eq!(column("No resources found in default namespace.\n", "NAME"), [""; 0]);
        assert_eq!(column("NAME   AGE\na      1s\nb      2s\n\nNAME   AGE\nc      1s\n", "NAME"), ["a", "b"]);
    }

    #[test]
    fn a_pattern_gives_its_first_group_wherever_it_fits() {
        let last = Find::Pattern(r"(?s).*/(db_dump-[0-9_]+)\.bak\.gz".to_owned());
        let listing = "gs://b/db/db_dump-20260101_000000.bak.gz\ngs://b/db/db_dump-20260201_000000.bak.gz\n";
        assert_eq!(values(listing, &last).unwrap(), ["db_dump-20260201_000000"]);
        assert_eq!(values(listing, &Find::Pattern("(gz)".to_owned())).unwrap().len(), 2);
        assert!(values("", &Find::Pattern("(".to_owned())).is_err());
    }

    proptest! {
        #[test]
        fn any_output_at_all_has_a_number_of_values(printed in "\\PC*|(NAME|é| |\n|a){0,30}") {
            column(&printed, "NAME");
        }
    }
}

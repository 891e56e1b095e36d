//! Cron schedules, as the API server's own parser refuses them.

const MONTHS: &[&str] = &["", "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// The least and the greatest number of each field, and names for numbers.
const FIELDS: [(u32, u32, &[&str]); 5] = [(0, 59, &[]), (0, 23, &[]), (1, 31, &[]), (1, 12, MONTHS), (0, 6, WEEKDAYS)];

/// Why a schedule cannot be read.
pub fn problem(schedule: &str) -> Option<String> {
    if schedule.contains("TZ") {
        return Some("cannot use TZ or CRON_TZ in schedule, use timeZone field instead".to_owned());
    }
    if let Some(word) = schedule.strip_prefix('@') {
        let known = ["yearly", "annually", "monthly", "weekly", "daily", "midnight", "hourly"].contains(&word);
        return (!known && !word.starts_with("every ")).then(|| format!("unrecognized descriptor: {schedule}"));
    }
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        return Some(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
    }
    fields.iter().zip(FIELDS).find_map(|(field, bounds)| field.split(',').find_map(|part| range(part, bounds).err()))
}

/// `*`, `2`, `2-5`, each with a step or without.
fn range(part: &str, (least, greatest, names): (u32, u32, &[&str])) -> Result<(), String> {
    let halves: Vec<&str> = part.split('/').collect();
    let ends: Vec<&str> = halves[0].split('-').collect();
    let (start, mut end) = match ends.as_slice() {
        ["*" | "?"] => (least, greatest),
        [one] => {
            let one = number(one, names)?;
            (one, one)
        }
        [start, end] => (number(start, names)?, number(end, names)?),
        _ => return Err(format!("too many hyphens: {part}")),
    };
    let step = match halves.as_slice() {
        [_] => 1,
        [_, step] => {
            // `2/5` goes on to the greatest.
            if ends.len() == 1 {
                end = greatest;
            }
            number(step, &[])?
        }
        _ => return Err(format!("too many slashes: {part}")),
    };
    if start < least {
        return Err(format!("beginning of range ({start}) below minimum ({least}): {part}"));
    }
    if end > greatest {
        return Err(format!("end of range ({end}) above maximum ({greatest}): {part}"));
    }
    if start > end {
        return Err(format!("beginning of range ({start}) beyond end of range ({end}): {part}"));
    }
    if step == 0 {
        return Err(format!("step of range should be a positive number: {part}"));
    }
    Ok(())
}

fn number(text: &str, names: &[&str]) -> Result<u32, String> {
    let lower = text.to_lowercase();
    if let Some(index) = names.iter().position(|name| !name.is_empty() && *name == lower) {
        return Ok(u32::try_from(index).unwrap_or_default());
    }
    text.parse().map_err(|_| format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax"))
}

#[cfg(test)]
mod tests {
    use super::problem;

    #[test]
    fn what_is_wrong_with_a_schedule_is_named() {
        for good in ["10 2 * * *", "*/5 0-6/2 1,15 jan-MAR sun", "@weekly", "@every 1h", "0 0 1/3 * ?"] {
            assert_eq!(problem(good), None, "{good}");
        }
        for (bad, why) in [
            ("10 25 * * *", "end of range (25) above maximum (23): 25"),
            ("10 2 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("10 2-3-4 * * *", "too many hyphens: 2-3-4"),
            ("*/1/2 2 * * *", "too many slashes: */1/2"),
            ("*/0 2 * * *", "step of range should be a positive number: */0"),
        ] {
            assert_eq!(problem(bad).as_deref(), Some(why), "{bad}");
        }
    }
}

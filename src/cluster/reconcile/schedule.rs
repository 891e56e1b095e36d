//! Cron schedules: five fields, names of months and weekdays, lists, ranges, steps, and the `@` forms
//! (<https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#schedule-syntax>).

use std::collections::BTreeSet;

use jiff::{ToSpan, Zoned};

/// When a CronJob is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    minutes: BTreeSet<i8>,
    hours: BTreeSet<i8>,
    days: BTreeSet<i8>,
    months: BTreeSet<i8>,
    /// 0 is Sunday.
    weekdays: BTreeSet<i8>,
    /// When both day fields say something, a day that fits either is due.
    either_day: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    #[error("schedule `{schedule}` has {found} fields instead of minute, hour, day of month, month and day of week")]
    Fields { schedule: String, found: usize },
    #[error("`{part}` in the {field} of schedule `{schedule}` is not a value, range or step within {low}-{high}")]
    Field { schedule: String, field: &'static str, part: String, low: i8, high: i8 },
}

struct Field {
    name: &'static str,
    low: i8,
    high: i8,
    names: &'static [&'static str],
}

const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const FIELDS: [Field; 5] = [
    Field { name: "minute", low: 0, high: 59, names: &[] },
    Field { name: "hour", low: 0, high: 23, names: &[] },
    Field { name: "day of month", low: 1, high: 31, names: &[] },
    Field { name: "month", low: 1, high: 12, names: MONTHS },
    Field { name: "day of week", low: 0, high: 7, names: WEEKDAYS },
];

impl Schedule {
    /// Reads a schedule; errors name the field and the part that cannot be read.
    pub fn parse(schedule: &str) -> Result<Self, ScheduleError> {
        let plain = match schedule.trim() {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            other => other,
        };
        let parts: Vec<&str> = plain.split_whitespace().collect();
        if parts.len() != FIELDS.len() {
            return Err(ScheduleError::Fields { schedule: schedule.to_owned(), found: parts.len() });
        }
        let field = |index: usize| values(schedule, &FIELDS[index], parts[index]);
        let weekdays = field(4)?.into_iter().map(|day| day % 7).collect();
        let is_open = |part: &str| part.starts_with(['*', '?']);
        Ok(Self {
            minutes: field(0)?,
            hours: field(1)?,
            days: field(2)?,
            months: field(3)?,
            weekdays,
            either_day: !is_open(parts[2]) && !is_open(parts[4]),
        })
    }

    /// The first due moment after `after`, in its time zone. `None` when there is none within five years (30 February).
    pub fn next(&self, after: &Zoned) -> Option<Zoned> {
        let start = after.with().second(0).subsec_nanosecond(0).build().ok()?;
        let mut at = start.checked_add(1.minute()).ok()?;
        let end = after.checked_add(5.years()).ok()?;
        while at < end {
            if !self.is_day(&at) {
                at = at.tomorrow().ok()?.start_of_day().ok()?;
            } else if !self.hours.contains(&at.hour()) {
                at = at.with().minute(0).build().ok()?.checked_add(1.hour()).ok()?;
            } else if !self.minutes.contains(&at.minute()) {
                at = at.checked_add(1.minute()).ok()?;
            } else {
                return Some(at);
            }
        }
        None
    }

    fn is_day(&self, at: &Zoned) -> bool {
        let day = self.days.contains(&at.day());
        let weekday = self.weekdays.contains(&at.weekday().to_sunday_zero_offset());
        let fits = if self.either_day { day || weekday } else { day && weekday };
        self.months.contains(&at.month()) && fits
    }
}

fn values(schedule: &str, field: &Field, text: &str) -> Result<BTreeSet<i8>, ScheduleError> {
    let mut values = BTreeSet::new();
    for part in text.split(',') {
        let range = range(field, part).ok_or_else(|| ScheduleError::Field {
            schedule: schedule.to_owned(),
            field: field.name,
            part: part.to_owned(),
            low: field.low,
            high: field.high,
        })?;
        values.extend(range);
    }
    Ok(values)
}

fn range(field: &Field, part: &str) -> Option<impl Iterator<Item = i8> + use<>> {
    let (span, step) = match part.split_once('/') {
        Some((span, step)) => (span, Some(step.parse::<usize>().ok().filter(|step| *step > 0)?)),
        None => (part, None),
    };
    let (low, high) = match span.split_once('-') {
        _ if span == "*" || span == "?" => (field.low, if field.high == 7 { 6 } else { field.high }),
        Some((low, high)) => (value(field, low)?, value(field, high)?),
        None if step.is_some() => (value(field, span)?, field.high),
        None => (value(field, span)?, value(field, span)?),
    };
    (low <= high).then(|| (low..=high).step_by(step.unwrap_or(1)))
}

fn value(field: &Field, text: &str) -> Option<i8> {
    let lower = text.to_ascii_lowercase();
    let named = field.names.iter().position(|name| *name == lower);
    let number = match named {
        Some(index) => i8::try_from(index).ok()? + field.low,
        None => text.parse().ok()?,
    };
    (field.low..=field.high).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn next(schedule: &str, after: &str) -> String {
        let after: Zoned = after.parse().unwrap();
        Schedule::parse(schedule).unwrap().next(&after).unwrap().strftime("%Y-%m-%d %H:%M").to_string()
    }

    #[test]
    fn a_nightly_schedule_is_due_the_next_evening() {
        assert_eq!(next("10 23 * * *", "2025-03-01T23:09:59[UTC]"), "2025-03-01 23:10");
        assert_eq!(next("10 23 * * *", "2025-03-01T23:10:00[UTC]"), "2025-03-02 23:10");
    }

    #[test]
    fn steps_lists_names_and_macros_are_read() {
        assert_eq!(next("*/15 * * * *", "2025-03-01T10:16:00[UTC]"), "2025-03-01 10:30");
        assert_eq!(next("0 6 * * mon,wed", "2025-03-01T00:00:00[UTC]"), "2025-03-03 06:00");
        assert_eq!(next("0 0 * * 7", "2025-03-01T00:00:00[UTC]"), "2025-03-02 00:00");
        assert_eq!(next("@monthly", "2025-03-01T00:00:00[UTC]"), "2025-04-01 00:00");
    }

    #[test]
    fn two_day_fields_are_due_on_either() {
        assert_eq!(next("0 0 13 * fri", "2025-03-01T00:00:00[UTC]"), "2025-03-07 00:00");
        assert_eq!(next("0 0 13 * fri", "2025-03-08T00:00:00[UTC]"), "2025-03-13 00:00");
    }

    #[test]
    fn what_never_comes_and_what_cannot_be_read_are_told_apart() {
        let february = Schedule::parse("0 0 30 2 *").unwrap();
        assert_eq!(february.next(&"2025-03-01T00:00:00[UTC]".parse().unwrap()), None);
        assert!(matches!(Schedule::parse("61 * * * *"), Err(ScheduleError::Field { field: "minute", .. })));
        assert!(matches!(Schedule::parse("* * * *"), Err(ScheduleError::Fields { found: 4, .. })));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "[0-9a-z*/,@ -]{0,20}") {
            let _ = Schedule::parse(&text);
        }

        #[test]
        fn the_next_moment_is_later_and_fits(minute in 0i8..60, hour in 0i8..24, second in 0i64..100_000_000) {
            let after = jiff::Timestamp::from_second(1_700_000_000 + second).unwrap().to_zoned(jiff::tz::TimeZone::UTC);
            let due = Schedule::parse(&format!("{minute} {hour} * * *")).unwrap().next(&after).unwrap();
            prop_assert!(due > after && due.minute() == minute && due.hour() == hour);
        }
    }
}

//! Cron schedules as Kubernetes reads them: five fields, names of months and days, `@hourly` and its like, `@every 90s`.

use jiff::ToSpan;
use jiff::civil::date;

use crate::cluster::{Millis, Time};

const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;

/// A schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Schedule {
    /// At a fixed interval.
    Every(Millis),
    /// At the minutes that all fields allow, a bit for every value.
    Fields {
        minutes: u64,
        hours: u64,
        days: u64,
        months: u64,
        weekdays: u64,
        /// Both the day of the month and the day of the week are restricted: one of them is enough.
        either_day: bool,
    },
}

impl Schedule {
    /// Reads a schedule; a prefix `TZ=` or `CRON_TZ=` is passed over.
    pub(super) fn parse(text: &str) -> Option<Schedule> {
        let text = match text.split_once(' ') {
            Some((zone, rest)) if zone.starts_with("TZ=") || zone.starts_with("CRON_TZ=") => rest.trim(),
            _ => text.trim(),
        };
        if let Some(interval) = text.strip_prefix("@every ") {
            return duration(interval.trim()).map(Schedule::Every);
        }
        let fields = match text {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            fields => fields,
        };
        let parts: Vec<&str> = fields.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = parts[..] else { return None };
        let restricted = |field: &str| !field.split(',').any(|part| matches!(part, "*" | "?" | "*/1" | "?/1"));
        Some(Schedule::Fields {
            minutes: field(minutes, 0, 59, &[])?,
            hours: field(hours, 0, 23, &[])?,
            days: field(days, 1, 31, &[])?,
            months: field(months, 1, 12, &MONTHS)?,
            weekdays: field(weekdays, 0, 6, &WEEKDAYS)?,
            either_day: restricted(days) && restricted(weekdays),
        })
    }

    /// The first time after `now`; `None` if there is none within five years.
    pub(super) fn next_after(&self, now: Time) -> Option<Time> {
        let Schedule::Fields { minutes, hours, days, months, weekdays, either_day } = *self else {
            let Schedule::Every(interval) = *self else { return None };
            return Some(now + interval);
        };
        let mut minute = now.0.div_euclid(MINUTE) + 1;
        let first_day = minute.div_euclid(DAY / MINUTE);
        for day in first_day..first_day + 5 * 366 {
            let date = date(1970, 1, 1).checked_add(day.days()).ok()?;
            let by_month = days >> date.day() & 1 == 1;
            let by_week = weekdays >> date.weekday().to_sunday_zero_offset() & 1 == 1;
            let allowed = if either_day { by_month || by_week } else { by_month && by_week };
            if months >> date.month() & 1 == 1 && allowed {
                while minute.div_euclid(DAY / MINUTE) == day {
                    let of_day = minute.rem_euclid(DAY / MINUTE);
                    if hours >> (of_day / 60) & 1 == 1 && minutes >> (of_day % 60) & 1 == 1 {
                        return Some(Time(minute * MINUTE));
                    }
                    minute += 1;
                }
            }
            minute = (day + 1) * (DAY / MINUTE);
        }
        None
    }
}

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// One field: a list of `*`, `5`, `1-5`, `*/10`, `3/10`, `1-30/5`. Names count from `least`.
fn field(text: &str, least: u32, most: u32, names: &[&str]) -> Option<u64> {
    let value = |text: &str| -> Option<u32> {
        let lower = text.to_ascii_lowercase();
        match names.iter().position(|name| *name == lower) {
            Some(position) => Some(position as u32 + least),
            None => text.parse().ok(),
        }
    };
    let mut bits = 0;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step.parse::<u32>().ok().filter(|&step| step > 0)?)),
            None => (part, None),
        };
        let (first, last) = match range {
            "*" | "?" => (least, most),
            _ => match range.split_once('-') {
                Some((first, last)) => (value(first)?, value(last)?),
                None => {
                    let first = value(range)?;
                    (first, if step.is_some() { most } else { first })
                }
            },
        };
        if first < least || last > most || first > last {
            return None;
        }
        for bit in (first..=last).step_by(step.unwrap_or(1) as usize) {
            bits |= 1 << bit;
        }
    }
    Some(bits)
}

/// `1h30m`, `90s`: Go's durations, rounded down to whole seconds, at least one.
fn duration(text: &str) -> Option<Millis> {
    let (mut seconds, mut number) = (0, String::new());
    for letter in text.chars() {
        match letter {
            '0'..='9' => number.push(letter),
            'h' | 'm' | 's' => {
                let amount: i64 = number.parse().ok()?;
                seconds += amount
                    * if letter == 'h' {
                        3600
                    } else if letter == 'm' {
                        60
                    } else {
                        1
                    };
                number.clear();
            }
            _ => return None,
        }
    }
    (number.is_empty() && !text.is_empty()).then_some(Millis::secs(seconds.max(1)))
}

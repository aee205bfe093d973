//! The wall clock of the page: templates ask for today's date, and WebAssembly has no clock of its own.

use std::fmt::Write;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// A moment in local time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    pub year: i32,
    /// From 1.
    pub month: u32,
    /// From 1.
    pub day: u32,
    pub hour: u32,
    pub minute: u32,
    pub second: u32,
}

impl Clock {
    /// What Python's `strftime` makes of `format` in the C locale; `Err` holds a directive that is not known.
    pub(super) fn format(&self, format: &str) -> Result<String, String> {
        let mut out = String::new();
        let mut rest = format;
        while let Some((before, after)) = rest.split_once('%') {
            out.push_str(before);
            // `%-d` is glibc's way to write a number without its padding.
            let (bare, after) = match after.strip_prefix('-') {
                Some(after) => (true, after),
                None => (false, after),
            };
            let directive = after.chars().next().ok_or_else(|| "%".to_owned())?;
            self.write(directive, bare, &mut out)?;
            rest = &after[directive.len_utf8()..];
        }
        out.push_str(rest);
        Ok(out)
    }

    fn write(&self, directive: char, bare: bool, out: &mut String) -> Result<(), String> {
        let month = MONTHS[(self.month as usize + 11) % 12];
        let weekday = DAYS[self.weekday() as usize];
        let (number, width, pad) = match directive {
            'Y' => (self.year.unsigned_abs(), 1, '0'),
            'y' => (self.year.rem_euclid(100) as u32, 2, '0'),
            'm' => (self.month, 2, '0'),
            'd' => (self.day, 2, '0'),
            'e' => (self.day, 2, ' '),
            'H' => (self.hour, 2, '0'),
            'I' => ((self.hour + 11) % 12 + 1, 2, '0'),
            'M' => (self.minute, 2, '0'),
            'S' => (self.second, 2, '0'),
            'j' => (self.day_of_year(), 3, '0'),
            _ => {
                let text = match directive {
                    'B' => month.to_owned(),
                    'b' | 'h' => month[..3].to_owned(),
                    'A' => weekday.to_owned(),
                    'a' => weekday[..3].to_owned(),
                    'p' => if self.hour < 12 { "AM" } else { "PM" }.to_owned(),
                    'F' => self.format("%Y-%m-%d")?,
                    'T' | 'X' => self.format("%H:%M:%S")?,
                    'R' => self.format("%H:%M")?,
                    'D' | 'x' => self.format("%m/%d/%y")?,
                    'c' => self.format("%a %b %e %H:%M:%S %Y")?,
                    // Local time without a zone, as `transformers` has it.
                    'Z' | 'z' => String::new(),
                    '%' => "%".to_owned(),
                    other => return Err(format!("%{other}")),
                };
                out.push_str(&text);
                return Ok(());
            }
        };
        let written = match (bare, pad) {
            (true, _) => write!(out, "{number}"),
            (false, ' ') => write!(out, "{number:width$}"),
            (false, _) => write!(out, "{number:0width$}"),
        };
        written.map_err(|_| "%".to_owned())
    }

    fn is_leap(&self) -> bool {
        self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0)
    }

    fn day_of_year(&self) -> u32 {
        const BEFORE: [u32; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
        BEFORE[(self.month as usize + 11) % 12] + self.day + u32::from(self.is_leap() && self.month > 2)
    }

    /// Sunday is 0.
    fn weekday(&self) -> u32 {
        // 1 January of year 1 was a Monday; every later year adds a day, and leap years one more.
        let past = self.year - 1;
        let days = past + past.div_euclid(4) - past.div_euclid(100) + past.div_euclid(400);
        (days + self.day_of_year() as i32).rem_euclid(7) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_read_as_in_python() {
        let clock = Clock { year: 2024, month: 7, day: 6, hour: 0, minute: 5, second: 9 };
        for (format, text) in [
            ("%d %b %Y", "06 Jul 2024"),
            ("%-d %B, %A", "6 July, Saturday"),
            ("%e|%j|%y|%I%p|%-H", " 6|188|24|12AM|0"),
            ("%c", "Sat Jul  6 00:05:09 2024"),
            ("%F %T %R %D 100%%%Z", "2024-07-06 00:05:09 00:05 07/06/24 100%"),
            ("", ""),
        ] {
            assert_eq!(clock.format(format).as_deref(), Ok(text), "{format}");
        }
        assert_eq!(clock.format("%Q"), Err("%Q".into()));
        assert_eq!(clock.format("50%"), Err("%".into()));
        let days = [(2026, 11, 21, "Sat 325"), (2000, 12, 31, "Sun 366"), (1900, 3, 1, "Thu 060")];
        for (year, month, day, text) in days {
            assert_eq!(Clock { year, month, day, ..clock }.format("%a %j").as_deref(), Ok(text));
        }
    }
}

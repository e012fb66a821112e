//! What the operator should know of the last starts, for the status: kept in the target, so that a restart does not
//! take it away.

use dmnode_mysql::{Connection, SqlError};
use jiff::{SignedDuration, Timestamp};

use crate::progress::meta::{Facts, NOTES};

/// Notes that are kept.
const NOTES_MAX: usize = 5;
/// A note is shown for so long.
const SHOWN_FOR: SignedDuration = SignedDuration::from_hours(48);

/// The last notes, the newest last.
#[derive(Debug, Default)]
pub struct Notes(Vec<(Timestamp, String)>);

impl Notes {
    /// Those that were written down.
    pub async fn load(conn: &mut Connection, facts: &Facts) -> Result<Self, SqlError> {
        Ok(Self::parse(&facts.get(conn, NOTES).await?.unwrap_or_default()))
    }

    fn parse(text: &str) -> Self {
        let line = |line: &str| {
            let (at, text) = line.split_once(' ')?;
            Some((at.parse().ok()?, text.to_owned()))
        };
        Self(text.lines().filter_map(line).collect())
    }

    /// Adds a note; the statement writes it down.
    pub fn add(&mut self, facts: &Facts, note: &str) -> String {
        let now = Timestamp::now().round(jiff::Unit::Second).unwrap_or_else(|_| Timestamp::now());
        self.0.push((now, note.replace(['\n', '\r'], " ")));
        let first = self.0.len().saturating_sub(NOTES_MAX);
        self.0.drain(..first);
        let lines: Vec<String> = self.0.iter().map(|(at, note)| format!("{at} {note}")).collect();
        facts.put_sql(NOTES, &lines.join("\n"))
    }

    /// Those that are not old.
    pub fn shown(&self) -> impl Iterator<Item = String> {
        let now = Timestamp::now();
        self.0
            .iter()
            .filter(move |(at, _)| now.duration_since(*at) < SHOWN_FOR)
            .map(|(at, note)| format!("{at}: {note}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_few_and_not_old() {
        let facts = Facts::new("m", &"t".into(), &"s".into());
        let mut notes = Notes::parse("2001-01-01T00:00:00Z long ago\nnonsense\n");
        assert_eq!(notes.0.len(), 1);
        assert_eq!(notes.shown().count(), 0);
        for round in 0..9 {
            notes.add(&facts, &format!("note {round}\nwith a second line"));
        }
        let shown: Vec<String> = notes.shown().collect();
        assert_eq!(shown.len(), NOTES_MAX);
        assert!(shown[4].ends_with(": note 8 with a second line"), "{shown:?}");
    }
}

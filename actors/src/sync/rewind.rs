//! Going back (`--start-time`, a checkpoint row changed by hand): what follows was applied before, up to where the task
//! was. There the stream is in safe mode.

use dmnode_model::error::CodedError;
use dmnode_model::ids::SourceId;
use dmnode_model::{GtidSet, Location};
use dmnode_mysql::{Connection, ServerInfo, current_location};

use super::origin::one_series;
use super::safe_mode::{Record, Until, has_reached, known};
use crate::progress::{AppliedSet, ProgressStore};
use crate::target::target_error;

/// Why the task begins before the place where it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rewind {
    /// `start-task --start-time`.
    StartTime,
    /// The checkpoint row was changed.
    Checkpoint,
}

impl Rewind {
    /// All there are.
    pub const ALL: [Self; 2] = [Self::StartTime, Self::Checkpoint];

    /// Name in the table of windows.
    pub fn key(self) -> &'static str {
        match self {
            Self::StartTime => "back by start-time",
            Self::Checkpoint => "back by checkpoint",
        }
    }

    /// For the status.
    pub fn reason(self) -> &'static str {
        match self {
            Self::StartTime => "start-task --start-time went back: what follows was applied before",
            Self::Checkpoint => {
                "the checkpoint row was changed and went back: what follows was applied before"
            }
        }
    }
}

/// A task that goes from one place to another.
pub struct Step<'a> {
    /// Why.
    pub why: Rewind,
    /// Everything up to here is in the target, and what is in `applied`.
    pub former: &'a Location,
    /// See `former`.
    pub applied: &'a AppliedSet,
    /// Where it begins now.
    pub to: &'a Location,
    /// Both places are on one server.
    pub same_server: bool,
}

/// What lies between two places.
#[derive(Debug, PartialEq, Eq)]
enum Overlap {
    /// Nothing that was applied comes again.
    None,
    /// It comes again up to where the task was.
    UpToFormer,
    /// The places cannot be compared.
    Unknown,
}

impl Step<'_> {
    fn overlap(&self) -> Overlap {
        let (former, to) = (self.former, self.to);
        if !self.applied.is_empty() {
            return Overlap::Unknown;
        }
        let judged = |back: bool| if back { Overlap::UpToFormer } else { Overlap::None };
        let sets = match (&former.gtid_set, &to.gtid_set) {
            (Some(former), Some(to)) if !former.is_empty() => Some((former, to)),
            _ => None,
        };
        let comparable = self.same_server
            && !former.position.is_empty()
            && one_series(&former.position.file, &to.position.file);
        match sets {
            Some((former @ GtidSet::Mysql(_), to)) => judged(!to.contains_set(former)),
            _ if comparable => judged(to.position < former.position),
            // Positions tell more than the last numbers of MariaDB's domains.
            Some((former, to)) if former.flavor() == to.flavor() => judged(!to.contains_set(former)),
            _ => Overlap::Unknown,
        }
    }

    /// The statements that make the window of safe mode, if one is needed: to be executed with the new watermark.
    pub async fn window(
        &self,
        store: &ProgressStore,
        source_id: &SourceId,
        source: &mut Connection,
        info: &ServerInfo,
    ) -> Result<Option<String>, CodedError> {
        let until = match self.overlap() {
            Overlap::None => return Ok(None),
            Overlap::UpToFormer => {
                let mut until = self.former.clone();
                if !self.same_server {
                    until.position = Default::default();
                }
                until
            }
            // Nothing can have been applied that the source does not have by now.
            Overlap::Unknown => current_location(source, info)
                .await
                .map_err(|error| super::start::position_unknown(&error))?,
        };
        let record = Record { table: store.table("dmnode_safe_mode"), source: source_id };
        let mut conn = store.connect().await?;
        conn.execute(record.create_sql()).await.map_err(|error| target_error(&error))?;
        let open = known(&mut conn, &record, self.why.key(), info.flavor).await?;
        conn.close().await;
        // A task that goes back in the middle of a window has applied what lies between its place and the window's end.
        let until = match open {
            Some(Until::Location(open)) if !has_reached(self.former, &open) => open,
            _ => until,
        };
        Ok(Some(record.put_sql(self.why.key(), &Until::Location(until))))
    }
}

#[cfg(test)]
mod tests {
    use dmnode_model::{BinlogPosition, Flavor};

    use super::*;

    #[test]
    fn going_back_is_told_from_going_on() {
        let uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
        let at = |file: &str, pos: u64, gtid: Option<(Flavor, &str)>| {
            let set = gtid.map(|(flavor, text)| GtidSet::parse(flavor, text).unwrap());
            Location::new(BinlogPosition::new(file, pos), set)
        };
        let my = |text: &str| GtidSet::parse(Flavor::Mysql, &format!("{uuid}:{text}")).unwrap();
        let mysql = |text: &str| Location::new(BinlogPosition::default(), Some(my(text)));
        let none = AppliedSet::default();
        let judge = |former: &Location, to: &Location, same_server| {
            Step { why: Rewind::StartTime, former, applied: &none, to, same_server }.overlap()
        };
        let (early, late) = (at("b.000002", 9, None), at("b.000010", 4, None));
        assert_eq!(judge(&late, &early, true), Overlap::UpToFormer);
        assert_eq!(judge(&early, &late, true), Overlap::None);
        assert_eq!(judge(&early, &early, true), Overlap::None);
        assert_eq!(judge(&early, &late, false), Overlap::Unknown);
        assert_eq!(judge(&early, &at("c.000010", 4, None), true), Overlap::Unknown);
        assert_eq!(judge(&mysql("1-9"), &mysql("1-9:11"), false), Overlap::None);
        assert_eq!(judge(&mysql("1-9"), &mysql("1-8:11"), false), Overlap::UpToFormer);
        let maria = |pos, text| at("b.000001", pos, Some((Flavor::Mariadb, text)));
        assert_eq!(judge(&maria(900, "0-1-9"), &maria(100, "0-1-10"), true), Overlap::UpToFormer);
        assert_eq!(judge(&maria(900, "0-1-9"), &maria(100, "0-1-10"), false), Overlap::None);
        let mut some = AppliedSet::default();
        some.insert(&crate::progress::TxnId::Position(late.position.clone()));
        let step =
            Step { why: Rewind::Checkpoint, former: &early, applied: &some, to: &late, same_server: true };
        assert_eq!(step.overlap(), Overlap::Unknown);
    }
}

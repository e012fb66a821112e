//! What the stream must skip because the copy already contains it.

use std::collections::HashMap;

use dmnode_model::codes;
use dmnode_model::error::CodedError;
use dmnode_model::gtid::{Flavor, Gtid, GtidSet};
use dmnode_model::ids::{SourceId, TableName, TaskName};
use dmnode_model::position::{BinlogPosition, Location};
use dmnode_mysql::Connection;

use super::key::{Bound, Compared, Comparison, KeyPart, KeyValue, Unknown, is_at_least};

/// One copied key range of a source table, up to where the next one begins. A table that is not cut has one, open on
/// both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopiedRange {
    /// Smallest key of the range; `None` is open below.
    pub lower: Option<Bound>,
    /// What of the source the range contains.
    pub location: Location,
}

/// The copied ranges of one source table, sorted by key, without gaps.
#[derive(Clone, Debug, Default)]
pub struct CopiedTable {
    /// Source columns whose values tell the range; none when the table is one range.
    pub key: Vec<KeyPart>,
    /// The ranges, ascending.
    pub ranges: Vec<CopiedRange>,
    /// It joined later than others and has no foreign keys in common with them.
    pub joined: bool,
}

impl CopiedTable {
    /// The range of a key.
    fn find(&self, key: &[KeyValue], compared: &Compared) -> Result<&CopiedRange, Unknown> {
        // Ranges are half open and sorted: the last one whose lower boundary is not above the key.
        let (mut low, mut high) = (0, self.ranges.len());
        while low + 1 < high {
            let middle = low + (high - low) / 2;
            let lower = self.ranges.get(middle).and_then(|range| range.lower.as_ref());
            if lower.map_or(Ok(true), |lower| is_at_least(key, lower, compared))? {
                low = middle;
            } else {
                high = middle;
            }
        }
        self.ranges.get(low).ok_or(Unknown::Unlike)
    }
}

/// Whether the copy already contains a DDL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DdlCopied {
    /// Every range of the table was read after it: skip it.
    Yes,
    /// No range was read after it: apply it.
    No,
    /// Some were, some were not: there is no right answer, the stream must stop.
    Mixed,
}

/// The copied ranges of all tables of one source in one task.
#[derive(Clone, Debug, Default)]
pub struct ChunkFilter {
    tables: HashMap<TableName, CopiedTable>,
    min: Option<Location>,
    max: Option<Location>,
    uniform: bool,
}

impl ChunkFilter {
    /// Builds the filter from ranges.
    pub fn new(tables: HashMap<TableName, CopiedTable>) -> Self {
        let mut filter = Self { tables, min: None, max: None, uniform: true };
        for location in filter.tables.values().flat_map(|table| &table.ranges).map(|range| &range.location) {
            if filter.min.as_ref().is_none_or(|min| reaches(min, location)) {
                filter.min = Some(location.clone());
            }
            if filter.max.as_ref().is_none_or(|max| reaches(location, max)) {
                filter.max = Some(location.clone());
            }
        }
        filter.uniform = match (&filter.min, &filter.max) {
            (Some(min), Some(max)) => reaches(min, max),
            _ => true,
        };
        filter
    }

    /// With further tables; of a table that is known already, whichever place is later.
    #[must_use]
    pub(crate) fn with(self, tables: HashMap<TableName, CopiedTable>) -> Self {
        let mut all = self.tables;
        for (name, new) in tables {
            let is_later = all.get(&name).is_none_or(|old| {
                let places = |table: &CopiedTable| -> Vec<Location> {
                    table.ranges.iter().map(|range| range.location.clone()).collect()
                };
                let (old, new) = (places(old), places(&new));
                old.iter().all(|old| new.iter().all(|new| reaches(new, old)))
            });
            if is_later {
                all.insert(name, new);
            }
        }
        Self::new(all)
    }

    /// Reads the chunk rows of the task's source from the target. `None` when nothing was copied (or the table does not
    /// exist): then nothing is to be skipped.
    pub async fn load(
        conn: &mut Connection,
        meta_schema: &str,
        task: &TaskName,
        source: &SourceId,
        flavor: Flavor,
    ) -> Result<Option<Self>, CodedError> {
        super::chunks::load_filter(conn, meta_schema, task, source, flavor).await
    }

    /// The smallest position of any range: where the stream has to start.
    pub fn min_location(&self) -> Option<&Location> {
        self.min.as_ref()
    }

    /// The largest position of any range: beyond it the filter has nothing to say.
    pub fn max_location(&self) -> Option<&Location> {
        self.max.as_ref()
    }

    /// All ranges were read at one position: the stream starts there and nothing is to be skipped.
    pub fn is_uniform(&self) -> bool {
        self.uniform
    }

    /// The stream has reached `location` (the end of a transaction): can the filter be dropped?
    pub fn is_passed(&self, location: &Location) -> bool {
        self.max.as_ref().is_none_or(|max| reaches(location, max))
    }

    /// The source columns by whose values `table` was cut; none when it is one range or not copied.
    pub fn key(&self, table: &TableName) -> &[KeyPart] {
        self.tables.get(table).map_or(&[], |table| &table.key)
    }

    /// Does the copy contain the row with these values in [`Self::key`] as of the transaction that ends at `end`
    /// and has `gtid`? `key` is not needed for tables of one range. A table that was not copied contains nothing.
    /// An error when the table has several ranges that answer differently and no key is given.
    /// `compared` has the answers to what [`Self::question`] has asked.
    pub fn row_is_copied(
        &self,
        table: &TableName,
        key: Option<&[KeyValue]>,
        compared: &Compared,
        end: &BinlogPosition,
        gtid: Option<&Gtid>,
    ) -> Result<bool, CodedError> {
        let Some(copied) = self.tables.get(table) else { return Ok(false) };
        let range = key.and_then(|key| copied.find(key, compared).ok());
        let Some(range) = range else {
            return match self.ddl_is_copied(table, end, gtid) {
                DdlCopied::Yes => Ok(true),
                DdlCopied::No => Ok(false),
                DdlCopied::Mixed => Err(CodedError::new(
                    codes::COPY_RANGE_UNKNOWN,
                    "a changed row cannot be assigned to a range of the full copy",
                )
                .object(table)
                .at(end)
                .remedy("a column the copy was cut by no longer holds values of its type; start the task again with --remove-meta and an emptied target table")),
            };
        };
        Ok(contains(&range.location, end, gtid))
    }

    /// What the source has to be asked next before [`Self::row_is_copied`] can tell.
    pub fn question(&self, table: &TableName, key: &[KeyValue], compared: &Compared) -> Option<Comparison> {
        match self.tables.get(table)?.find(key, compared) {
            Err(Unknown::Ask(question)) => Some(question),
            Ok(_) | Err(Unknown::Unlike) => None,
        }
    }

    /// Is this transaction part of some of what was copied and not of all of it? Only where a copy was interrupted and
    /// went on with a later snapshot.
    pub fn is_mixed_at(&self, end: &BinlogPosition, gtid: Option<&Gtid>) -> bool {
        // A table that joined later has nothing to do with what actions change in others.
        let mut ranges = self.tables.values().filter(|table| !table.joined).flat_map(|table| &table.ranges);
        let Some(first) = ranges.next() else { return false };
        let first = contains(&first.location, end, gtid);
        ranges.any(|range| contains(&range.location, end, gtid) != first)
    }

    /// Does the copy contain a DDL on `table` that ends at `end` and has `gtid`?
    pub fn ddl_is_copied(&self, table: &TableName, end: &BinlogPosition, gtid: Option<&Gtid>) -> DdlCopied {
        let Some(table) = self.tables.get(table) else { return DdlCopied::No };
        let copied = table.ranges.iter().filter(|range| contains(&range.location, end, gtid)).count();
        if copied == 0 {
            DdlCopied::No
        } else if copied == table.ranges.len() {
            DdlCopied::Yes
        } else {
            DdlCopied::Mixed
        }
    }
}

/// Is the transaction that ends at `end` part of what was read at `location`?
fn contains(location: &Location, end: &BinlogPosition, gtid: Option<&Gtid>) -> bool {
    match (&location.gtid_set, gtid) {
        (Some(set), Some(gtid)) if by_gtid(set, &location.position, end) => set.contains(gtid),
        _ => *end <= location.position,
    }
}

/// Is everything of `other` contained in `location`?
pub fn reaches(location: &Location, other: &Location) -> bool {
    match (&location.gtid_set, &other.gtid_set) {
        (Some(set), Some(subset)) if by_gtid(set, &location.position, &other.position) => {
            set.contains_set(subset)
        }
        _ => location.position >= other.position,
    }
}

/// Whether GTIDs tell the order of two places. MariaDB's sets know the last GTID of each domain only, and the
/// numbers within a domain need not ascend: there the positions tell it, if they are of one series of files.
fn by_gtid(set: &GtidSet, a: &BinlogPosition, b: &BinlogPosition) -> bool {
    let series = |position: &BinlogPosition| {
        position.file_number()?;
        position.file.rsplit_once('.').map(|(base, _)| base.to_owned())
    };
    set.flavor() != Flavor::Mariadb || series(a).is_none() || series(a) != series(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::key::KeyKind;

    fn at(pos: u64, gtid: Option<&str>) -> Location {
        let gtid_set = gtid.map(|text| GtidSet::parse(Flavor::Mariadb, text).unwrap());
        Location { position: BinlogPosition::new("bin.000001", pos), gtid_set }
    }

    type Range<'a> = (Option<i128>, u64, Option<&'a str>);

    fn filter(ranges: &[Range<'_>]) -> (ChunkFilter, TableName) {
        let ranges = ranges
            .iter()
            .map(|(lower, pos, gtid)| CopiedRange {
                lower: lower.map(|lower| vec![KeyValue::Integer(lower)]),
                location: at(*pos, *gtid),
            })
            .collect();
        let name = TableName::new("a", "t");
        let key = vec![KeyPart { name: "id".into(), kind: KeyKind::Integer }];
        let table = CopiedTable { key, ranges, joined: false };
        (ChunkFilter::new(HashMap::from([(name.clone(), table)])), name)
    }

    fn copied_at(
        filter: &ChunkFilter,
        table: &TableName,
        key: i128,
        end: &BinlogPosition,
        gtid: Option<&Gtid>,
    ) -> Result<bool, CodedError> {
        filter.row_is_copied(table, Some(&[KeyValue::Integer(key)]), &Compared::new(), end, gtid)
    }

    #[test]
    fn each_range_answers_for_its_own_keys() {
        let ranges = [(None, 100, None), (Some(-5), 300, None), (Some(10), 200, None)];
        let (filter, table) = filter(&ranges);
        let end = |pos| BinlogPosition::new("bin.000001", pos);
        for (key, pos, copied) in [
            (-6, 100, true),
            (-6, 101, false),
            (-5, 101, true),
            (9, 300, true),
            (9, 301, false),
            (10, 200, true),
            (10, 201, false),
            (i128::from(u64::MAX), 201, false),
            (i128::from(i64::MIN), 100, true),
        ] {
            assert_eq!(copied_at(&filter, &table, key, &end(pos), None), Ok(copied), "{key} {pos}");
        }
        assert_eq!(filter.ddl_is_copied(&table, &end(100), None), DdlCopied::Yes);
        assert_eq!(filter.ddl_is_copied(&table, &end(150), None), DdlCopied::Mixed);
        assert_eq!(filter.ddl_is_copied(&table, &end(301), None), DdlCopied::No);
        assert_eq!(filter.row_is_copied(&table, None, &Compared::new(), &end(100), None), Ok(true));
        let unknown = filter.row_is_copied(&table, None, &Compared::new(), &end(150), None).unwrap_err();
        assert_eq!(unknown.code, codes::COPY_RANGE_UNKNOWN);
        assert_eq!(
            (filter.min_location(), filter.max_location()),
            (Some(&at(100, None)), Some(&at(300, None)))
        );
        assert!(!filter.is_uniform());
        assert!(!filter.is_passed(&at(299, None)) && filter.is_passed(&at(300, None)));
        let other = TableName::new("a", "other");
        assert_eq!(copied_at(&filter, &other, 1, &end(4), None), Ok(false));
    }

    /// A location of MySQL with the transactions 1 to `last`.
    fn mysql(pos: u64, last: u64) -> Location {
        let text = format!("{UUID}:1-{last}");
        Location {
            position: BinlogPosition::new("bin.000001", pos),
            gtid_set: Some(GtidSet::parse(Flavor::Mysql, &text).unwrap()),
        }
    }

    const UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

    #[test]
    fn gtids_decide_where_both_sides_have_them() {
        let gtid = |number| Gtid::parse(Flavor::Mysql, &format!("{UUID}:{number}")).unwrap();
        let end = BinlogPosition::new("bin.000001", 500);
        // The position would say otherwise.
        assert!(contains(&mysql(100, 5), &end, Some(&gtid(5))));
        assert!(!contains(&mysql(100, 5), &end, Some(&gtid(6))));
        assert!(!contains(&mysql(900, 5), &end, Some(&gtid(6))));
        assert!(reaches(&mysql(100, 9), &mysql(900, 5)) && !reaches(&mysql(900, 5), &mysql(100, 9)));
    }

    #[test]
    fn numbers_of_mariadb_need_not_ascend() {
        let (filter, table) = filter(&[(None, 100, Some("0-1-50")), (Some(0), 900, Some("0-2-7"))]);
        let gtid = |text| Gtid::parse(Flavor::Mariadb, text).unwrap();
        let end = BinlogPosition::new("bin.000001", 500);
        // After the first range was read another server wrote with lower numbers.
        assert_eq!(copied_at(&filter, &table, -1, &end, Some(&gtid("0-2-3"))), Ok(false));
        assert_eq!(copied_at(&filter, &table, 1, &end, Some(&gtid("0-1-60"))), Ok(true));
        assert_eq!(filter.max_location().map(|at| at.position.pos), Some(900));
        assert_eq!(filter.min_location().map(|at| at.position.pos), Some(100));
        assert!(!filter.is_uniform() && !filter.is_passed(&at(899, Some("0-1-60"))));
        // Files of another server cannot be compared.
        let other = BinlogPosition::new("other.000001", 5000);
        assert_eq!(copied_at(&filter, &table, -1, &other, Some(&gtid("0-1-50"))), Ok(true));
        assert_eq!(copied_at(&filter, &table, -1, &other, Some(&gtid("0-1-51"))), Ok(false));
    }
}

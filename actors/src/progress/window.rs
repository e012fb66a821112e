//! Bookkeeping of the transactions in flight: pure, so that it can be tested with every order of commits.

use std::collections::VecDeque;

use dmnode_model::gtid::GtidSet;
use dmnode_model::position::{BinlogPosition, Location};

use super::applied::{AppliedSet, TxnId};
use super::{ProgressUpdate, Watermark, WatermarkText};

/// The place of a transaction in the stream of one generation, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ordinal(pub u64);

#[derive(Debug)]
struct Entry {
    id: TxnId,
    end: BinlogPosition,
    done: bool,
}

/// The transactions that were read and are not yet all in the target.
#[derive(Debug)]
pub struct Window {
    /// Ordinal of the watermark; the first entry is the next one.
    base: u64,
    entries: VecDeque<Entry>,
    number: u64,
    location: Location,
    /// Beyond the watermark, committed by earlier generations.
    inherited: AppliedSet,
    text: Option<WatermarkText>,
}

impl Window {
    /// Starts at a watermark with what earlier generations have committed beyond it.
    pub fn new(watermark: Watermark, inherited: AppliedSet) -> Self {
        Self {
            base: 0,
            entries: VecDeque::new(),
            number: watermark.number,
            location: watermark.location,
            inherited,
            text: None,
        }
    }

    /// Whether an earlier generation has already committed the transaction.
    pub fn is_applied(&self, id: &TxnId) -> bool {
        self.inherited.contains(id)
    }

    /// A transaction was read; `end` is where it ends.
    pub fn push(&mut self, id: TxnId, end: BinlogPosition) -> Ordinal {
        self.entries.push_back(Entry { id, end, done: false });
        Ordinal(self.base + self.entries.len() as u64)
    }

    /// A transaction is in the target, or is not meant for it.
    pub fn done(&mut self, ordinal: Ordinal) {
        let Some(index) = ordinal.0.checked_sub(self.base + 1) else { return };
        if let Some(entry) = usize::try_from(index).ok().and_then(|index| self.entries.get_mut(index)) {
            entry.done = true;
        }
        while self.entries.front().is_some_and(|entry| entry.done) {
            if let Some(entry) = self.entries.pop_front() {
                self.pass(entry);
            }
        }
    }

    /// Whether the transaction is in the target, or is not meant for it.
    pub fn is_done(&self, ordinal: Ordinal) -> bool {
        let Some(index) = ordinal.0.checked_sub(self.base + 1) else { return true };
        usize::try_from(index).ok().and_then(|index| self.entries.get(index)).is_none_or(|entry| entry.done)
    }

    fn pass(&mut self, entry: Entry) {
        self.base += 1;
        self.number += 1;
        self.text = None;
        self.location.position = entry.end;
        if let TxnId::Gtid(gtid) = &entry.id
            && let Some(set) = &mut self.location.gtid_set
        {
            // The flavour was checked when the transaction was read.
            let inserted = set.insert(gtid);
            debug_assert!(inserted.is_ok());
        }
        if !self.inherited.is_empty() {
            self.inherited.remove(&entry.id);
        }
    }

    /// Moves the position of an idle window past events that belong to no transaction (a rotate). Says whether
    /// it did: it does not while transactions are in flight.
    pub fn advance(&mut self, position: &BinlogPosition) -> bool {
        if !self.entries.is_empty() || self.location.position == *position {
            return false;
        }
        self.location.position = position.clone();
        self.number += 1;
        self.text = None;
        true
    }

    /// Takes over GTIDs the source reports as executed before the window's position (start by position).
    pub fn set_gtid_set(&mut self, set: GtidSet) {
        self.location.gtid_set = Some(set);
        self.number += 1;
        self.text = None;
    }

    /// Every transaction up to here is in the target.
    pub fn watermark(&self) -> Watermark {
        Watermark { number: self.number, location: self.location.clone() }
    }

    /// The watermark's location.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// The watermark's number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The ordinal up to which everything is done.
    pub fn passed(&self) -> Ordinal {
        Ordinal(self.base)
    }

    /// Transactions beyond the watermark.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is in flight.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn text(&mut self) -> &WatermarkText {
        let (number, location) = (self.number, &self.location);
        self.text.get_or_insert_with(|| WatermarkText::new(&Watermark { number, location: location.clone() }))
    }
}

/// What one applier has committed beyond the watermark, and what it says so in its progress row.
#[derive(Debug, Default)]
pub struct ApplierBook {
    /// Whether this applier's row also keeps what earlier generations had committed.
    keeps_inherited: bool,
    committed: VecDeque<(Ordinal, TxnId)>,
    written_number: u64,
    written_applied: String,
}

impl ApplierBook {
    /// The book of applier `index`, after a take-over.
    pub fn new(index: usize, window: &Window) -> Self {
        let keeps_inherited = index == 0;
        Self {
            keeps_inherited,
            committed: VecDeque::new(),
            written_number: window.number,
            written_applied: if keeps_inherited { window.inherited.to_string() } else { String::new() },
        }
    }

    /// The row's new content when `batch` commits (empty: only the watermark moves). `None` for a batch without
    /// transactions when the row says it all already.
    pub fn update(&mut self, window: &mut Window, batch: &[(Ordinal, TxnId)]) -> Option<ProgressUpdate> {
        let passed = window.passed();
        while self.committed.front().is_some_and(|(ordinal, _)| *ordinal <= passed) {
            self.committed.pop_front();
        }
        // Ordinals of one applier are not always ascending (a transaction may wait), so the rest is filtered too.
        let mut set = if self.keeps_inherited { window.inherited.clone() } else { AppliedSet::new() };
        for (_, id) in self.committed.iter().chain(batch).filter(|(ordinal, _)| *ordinal > passed) {
            set.insert(id);
        }
        let applied = set.to_string();
        let watermark = (window.number != self.written_number).then(|| window.text().clone());
        let applied = (applied != self.written_applied).then_some(applied);
        if batch.is_empty() && watermark.is_none() && applied.is_none() {
            return None;
        }
        Some(ProgressUpdate { watermark, applied })
    }

    /// The transaction with this update has committed.
    pub fn committed(&mut self, update: &ProgressUpdate, batch: Vec<(Ordinal, TxnId)>) {
        self.committed.extend(batch);
        if let Some(watermark) = &update.watermark {
            self.written_number = watermark.number;
        }
        if let Some(applied) = &update.applied {
            self.written_applied.clone_from(applied);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use dmnode_model::gtid::{Flavor, Gtid};
    use proptest::prelude::*;

    use super::*;

    const FILE: &str = "mysql-bin.000001";

    fn position(at: u64) -> BinlogPosition {
        BinlogPosition { file: FILE.into(), pos: at * 100 }
    }

    fn id(at: u64, gtids: bool) -> TxnId {
        if gtids {
            TxnId::Gtid(Gtid::Mysql { sid: [1; 16], tag: Default::default(), gno: at })
        } else {
            TxnId::Position(position(at))
        }
    }

    /// What the target has durably: the rows of the progress table and, as the witness, what was applied.
    #[derive(Default)]
    struct Target {
        rows: Vec<(u64, Location, AppliedSet)>,
        applied: Vec<u64>,
    }

    impl Target {
        fn write(&mut self, applier: usize, update: &ProgressUpdate) {
            let row = &mut self.rows[applier];
            if let Some(text) = &update.watermark {
                row.0 = text.number;
                row.1 = super::super::read_location(
                    text.file.clone(),
                    text.pos,
                    text.gtid.as_deref(),
                    text.flavor,
                )
                .unwrap();
            }
            if let Some(applied) = &update.applied {
                row.2 = AppliedSet::parse(applied).unwrap();
            }
        }

        fn restart(&self, gtids: bool) -> (Watermark, AppliedSet) {
            let start =
                Location { position: position(0), gtid_set: gtids.then(|| GtidSet::empty(Flavor::Mysql)) };
            let mut best = Watermark { number: 0, location: start };
            let mut applied = AppliedSet::new();
            for (number, location, set) in &self.rows {
                if *number > best.number {
                    best = Watermark { number: *number, location: location.clone() };
                }
                applied.union(set);
            }
            (best, applied)
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        /// INV-2, INV-4: whatever the order of commits and wherever it crashes, the restart set is exactly the
        /// set of committed transactions.
        #[test]
        fn restart_is_exactly_the_committed_set(
            gtids in any::<bool>(),
            generations in prop::collection::vec(
                (1usize..5, prop::collection::vec((0u8..10, any::<prop::sample::Index>()), 0..60)), 1..5),
        ) {
            let mut target = Target::default();
            for (appliers, steps) in generations {
                let (watermark, inherited) = target.restart(gtids);
                let first = watermark.location.position.pos / 100;
                // The take-over rewrites the rows.
                let zero = (watermark.number, watermark.location.clone(), AppliedSet::new());
                target.rows = vec![zero; appliers];
                target.rows[0].2 = inherited.clone();
                let mut window = Window::new(watermark, inherited);
                let mut books: Vec<_> = (0..appliers).map(|index| ApplierBook::new(index, &window)).collect();
                let mut queues: Vec<VecDeque<(Ordinal, TxnId, u64)>> = vec![VecDeque::new(); appliers];
                let mut read = first;
                for (step, choice) in steps {
                    if step < 5 {
                        // Read the next transaction: already applied, filtered, or given to an applier.
                        read += 1;
                        let id = id(read, gtids);
                        let known = window.is_applied(&id);
                        prop_assert_eq!(known, target.applied.contains(&read), "before reading {}", read);
                        let ordinal = window.push(id.clone(), position(read));
                        if known {
                            window.done(ordinal);
                        } else {
                            queues[choice.index(appliers)].push_back((ordinal, id, read));
                        }
                    } else {
                        let applier = choice.index(appliers);
                        let size = usize::from(step - 5);
                        let queue = &mut queues[applier];
                        let size = size.min(queue.len());
                        let batch: Vec<_> = queue.drain(..size).collect();
                        let ids: Vec<_> = batch.iter().map(|(o, i, _)| (*o, i.clone())).collect();
                        if let Some(update) = books[applier].update(&mut window, &ids) {
                            target.write(applier, &update);
                            target.applied.extend(batch.iter().map(|(_, _, n)| *n));
                            books[applier].committed(&update, ids.clone());
                            for (ordinal, _) in ids {
                                window.done(ordinal);
                            }
                        }
                    }
                }
                // Crash here: look at what a successor would see.
                let (watermark, inherited) = target.restart(gtids);
                let passed = watermark.location.position.pos / 100;
                let mut seen: BTreeSet<u64> = (1..=passed).collect();
                let most = target.applied.iter().copied().max().unwrap_or(0).max(read);
                seen.extend((passed + 1..=most + 1).filter(|n| inherited.contains(&id(*n, gtids))));
                let applied: BTreeSet<u64> = target.applied.iter().copied().collect();
                prop_assert_eq!(applied.len(), target.applied.len(), "nothing is applied twice");
                prop_assert_eq!(seen, applied);
                if let Some(set) = &watermark.location.gtid_set {
                    prop_assert_eq!(set.is_empty(), passed == 0);
                }
            }
        }
    }

    #[test]
    fn rotates_move_only_an_idle_window() {
        let start = Location { position: position(0), gtid_set: None };
        let mut window = Window::new(Watermark { number: 3, location: start }, AppliedSet::new());
        let next = BinlogPosition { file: "mysql-bin.000002".into(), pos: 4 };
        let ordinal = window.push(id(1, false), position(1));
        assert!(!window.advance(&next));
        window.done(ordinal);
        assert!(window.advance(&next));
        assert_eq!(window.watermark().number, 5);
        assert_eq!(window.location().position, next);
        assert!(window.is_empty());
    }
}

//! Which applier a transaction goes to: after its predecessors, else wherever there is least to do.

use std::collections::HashMap;

use super::write_set::Use;
use crate::progress::Ordinal;

/// How many transactions in a row go to a busy applier before another is looked for; runs keep the applied sets
/// short.
const RUN: u32 = 32;
/// Keys kept before those of finished transactions are swept out.
const SWEEP_AT: usize = 1 << 16;

/// Where a live transaction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct User {
    applier: usize,
    ordinal: Ordinal,
}

#[derive(Debug, Default)]
struct Users {
    exclusive: Option<User>,
    /// The last shared user of each applier since the last exclusive one.
    shared: Vec<User>,
}

/// The answer to "where may this transaction go?".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// No live predecessor.
    Anywhere,
    /// Behind its predecessors, which are all on this applier.
    Behind(usize),
    /// Predecessors are on several appliers: ask again when something has been applied.
    Wait,
}

/// Remembers the last users of every key.
#[derive(Debug)]
pub struct Scheduler {
    users: HashMap<u64, Users>,
    sweep_at: usize,
    current: usize,
    run: u32,
}

impl Default for Scheduler {
    fn default() -> Self {
        Self { users: HashMap::new(), sweep_at: SWEEP_AT, current: 0, run: 0 }
    }
}

impl Scheduler {
    /// Nothing is in flight.
    pub fn new() -> Self {
        Self::default()
    }

    /// Where a transaction with these uses may go. `is_done` tells finished transactions.
    pub fn place(&self, uses: &[Use], mut is_done: impl FnMut(Ordinal) -> bool) -> Place {
        let mut place = Place::Anywhere;
        for wanted in uses {
            let Some(users) = self.users.get(&wanted.key) else { continue };
            let shared = if wanted.exclusive { users.shared.as_slice() } else { &[] };
            for user in users.exclusive.iter().chain(shared) {
                if is_done(user.ordinal) {
                    continue;
                }
                match place {
                    Place::Anywhere => place = Place::Behind(user.applier),
                    Place::Behind(applier) if applier == user.applier => {}
                    Place::Behind(_) | Place::Wait => return Place::Wait,
                }
            }
        }
        place
    }

    /// Chooses among appliers for a transaction without predecessors; `load` is what each has queued.
    pub fn choose(&mut self, load: &[usize]) -> usize {
        let Some((least, lowest)) = load.iter().copied().enumerate().min_by_key(|(_, load)| *load) else {
            return 0;
        };
        let stay = lowest > 0 && self.run < RUN && self.current < load.len();
        if stay {
            self.run += 1;
        } else {
            self.current = least;
            self.run = 1;
        }
        self.current
    }

    /// The transaction has been given to an applier.
    pub fn placed(
        &mut self,
        uses: &[Use],
        applier: usize,
        ordinal: Ordinal,
        is_done: impl FnMut(Ordinal) -> bool,
    ) {
        let user = User { applier, ordinal };
        for used in uses {
            let users = self.users.entry(used.key).or_default();
            if used.exclusive {
                users.exclusive = Some(user);
                users.shared.clear();
            } else if let Some(own) = users.shared.iter_mut().find(|other| other.applier == applier) {
                own.ordinal = ordinal;
            } else {
                users.shared.push(user);
            }
        }
        if self.users.len() >= self.sweep_at {
            self.sweep(is_done);
        }
    }

    fn sweep(&mut self, mut is_done: impl FnMut(Ordinal) -> bool) {
        self.users.retain(|_, users| {
            users.exclusive = users.exclusive.filter(|user| !is_done(user.ordinal));
            users.shared.retain(|user| !is_done(user.ordinal));
            users.exclusive.is_some() || !users.shared.is_empty()
        });
        self.sweep_at = (self.users.len() * 2).max(SWEEP_AT);
    }

    /// Everything has been applied (a barrier).
    pub fn clear(&mut self) {
        self.users.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet, VecDeque};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        /// INV-6: whatever the appliers' speed, conflicting transactions take effect in source order. The witness:
        /// each key's history of exclusive users, and what shared users saw, equal those of a serial run.
        #[test]
        fn equals_the_serial_order(
            appliers in 1usize..5,
            transactions in prop::collection::vec(prop::collection::btree_map(0u64..8, any::<bool>(), 1..4), 1..60),
            pace in prop::collection::vec((any::<prop::sample::Index>(), 0usize..4), 200),
        ) {
            let mut scheduler = Scheduler::new();
            scheduler.sweep_at = 4;
            let mut queues: Vec<VecDeque<usize>> = vec![VecDeque::new(); appliers];
            let mut done: HashSet<u64> = HashSet::new();
            let mut order = Vec::new();
            let mut pace = pace.iter().cycle();
            let mut drain = |queues: &mut Vec<VecDeque<usize>>, done: &mut HashSet<u64>, order: &mut Vec<usize>| {
                let (index, count) = pace.next().unwrap();
                let queue = &mut queues[index.index(appliers)];
                for number in queue.drain(..(*count).min(queue.len())).collect::<Vec<_>>() {
                    order.push(number);
                    done.insert(number as u64 + 1);
                }
            };
            for (number, uses) in transactions.iter().enumerate() {
                let uses: Vec<Use> = uses.iter().map(|(key, exclusive)| Use { key: *key, exclusive: *exclusive }).collect();
                let ordinal = Ordinal(number as u64 + 1);
                let applier = loop {
                    match scheduler.place(&uses, |o| done.contains(&o.0)) {
                        Place::Anywhere => {
                            let load: Vec<usize> = queues.iter().map(VecDeque::len).collect();
                            break scheduler.choose(&load);
                        }
                        Place::Behind(applier) => break applier,
                        Place::Wait => {
                            // Something must be in flight, else this would wait for ever.
                            prop_assert!(queues.iter().any(|queue| !queue.is_empty()));
                            drain(&mut queues, &mut done, &mut order);
                        }
                    }
                };
                queues[applier].push_back(number);
                scheduler.placed(&uses, applier, ordinal, |o| done.contains(&o.0));
                drain(&mut queues, &mut done, &mut order);
            }
            for queue in &mut queues {
                order.extend(queue.drain(..));
            }
            prop_assert_eq!(order.len(), transactions.len());
            let history = |order: &[usize]| {
                let mut last: BTreeMap<u64, usize> = BTreeMap::new();
                let mut seen: BTreeMap<(usize, u64), Option<usize>> = BTreeMap::new();
                for number in order {
                    for (key, exclusive) in &transactions[*number] {
                        seen.insert((*number, *key), last.get(key).copied());
                        if *exclusive {
                            last.insert(*key, *number);
                        }
                    }
                }
                (last, seen)
            };
            let serial: Vec<usize> = (0..transactions.len()).collect();
            prop_assert_eq!(history(&order), history(&serial));
        }
    }

    #[test]
    fn idle_appliers_come_first_and_busy_ones_get_runs() {
        let mut scheduler = Scheduler::new();
        assert_eq!(scheduler.choose(&[3, 0, 2]), 1);
        let busy = [5, 9, 7];
        let runs: Vec<usize> = (0..RUN * 2).map(|_| scheduler.choose(&busy)).collect();
        assert!(runs.windows(2).filter(|pair| pair[0] != pair[1]).count() <= 2, "{runs:?}");
    }
}

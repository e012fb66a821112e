//! openraft's own tests of a store, on ours.

use openraft::testing::{StoreBuilder, Suite};
use tempfile::TempDir;

use super::{Log, Machine, Replica};
use crate::types::{StorageError, TypeConfig};

struct Builder;

impl StoreBuilder<TypeConfig, Log, Machine, Cleanup> for Builder {
    async fn build(&self) -> Result<(Cleanup, Log, Machine), StorageError> {
        let dir = tempfile::tempdir().unwrap();
        let data = dmnode_storage::DataDir::open(dir.path(), "n1", false).unwrap();
        let store = data.open_store().unwrap();
        let log = Log::new(store.log.clone());
        let machine = Machine::open(store.snapshots, store.snapshot.as_ref(), Replica::new()).unwrap();
        Ok((Cleanup { log: store.log, _dir: dir }, log, machine))
    }
}

struct Cleanup {
    log: dmnode_storage::LogStore,
    _dir: TempDir,
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        self.log.close();
    }
}

#[test]
fn openrafts_storage_suite_passes() {
    Suite::test_all(Builder).unwrap();
}

//! What a statement of the stream changes in the definitions of the source's tables.

use async_trait::async_trait;

use crate::target::{ApplyBody, ApplyError, TargetTransaction};

/// What following a statement has to leave in the target, in the transaction in which the watermark passes it.
#[derive(Debug, Default)]
pub struct Tracked {
    /// Statements on the meta tables.
    pub statements: Vec<String>,
}

impl Tracked {
    /// The statement concerns no table that is followed.
    pub fn is_empty(&self) -> bool {
        self.statements.is_empty()
    }
}

/// Statements as the body of a transaction.
pub struct Statements<'a>(pub &'a [String]);

#[async_trait]
impl ApplyBody for Statements<'_> {
    async fn run(&mut self, transaction: &mut TargetTransaction<'_>) -> Result<(), ApplyError> {
        for sql in self.0 {
            transaction.execute(sql).await?;
        }
        Ok(())
    }
}

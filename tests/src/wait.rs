//! Bounded waiting: a condition, a limit, and what was last seen when the limit is over.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How often a condition is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Waits until `check` answers `Ok(Ok(value))`. `Ok(Err(seen))` says what is there instead; `Err` ends the waiting.
pub async fn wait_until<T, F>(what: &str, limit: Duration, mut check: F) -> Result<T>
where
    F: AsyncFnMut() -> Result<Result<T, String>>,
{
    let started = Instant::now();
    loop {
        match check().await? {
            Ok(value) => return Ok(value),
            Err(seen) if started.elapsed() > limit => {
                bail!("{what}: not within {limit:?}; last seen: {seen}")
            }
            Err(_) => tokio::time::sleep(POLL_INTERVAL).await,
        }
    }
}

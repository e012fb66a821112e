//! The line protocol of a running proxy: one command per line, one JSON object per answer.
//!
//! ```text
//! pass                     forward everything; held bytes go on
//! drop-commit [N] [TEXT]   lose the OK answers of the next N COMMITs (default 1) and cut those connections; with TEXT only
//!                          on connections that sent a statement containing TEXT since their last COMMIT
//! hold                     keep connections open, forward nothing
//! cut                      close the connections there are; new ones are accepted
//! refuse                   close the connections there are and every new one at once
//! delay MS                 wait MS milliseconds before forwarding, each way
//! status                   only answer
//! ```

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::proxy::{DropCommit, Mode, ProxyState};

/// Longest command line accepted.
const LINE_BYTES_MAX: u64 = 4096;

/// Answers commands until the listener fails.
pub async fn serve(listener: TcpListener, state: Arc<ProxyState>) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await.context("control listener failed")?;
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            if let Err(err) = answer_lines(stream, &state).await {
                tracing::debug!(error = %err, "control connection ended");
            }
        });
    }
}

async fn answer_lines(stream: TcpStream, state: &ProxyState) -> Result<()> {
    let (read_half, mut write_half) = stream.into_split();
    let mut reader = tokio::io::AsyncReadExt::take(BufReader::new(read_half), LINE_BYTES_MAX);
    let mut line = String::new();
    loop {
        line.clear();
        reader.set_limit(LINE_BYTES_MAX);
        if reader.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let answer = match apply(line.trim(), state) {
            Ok(()) => serde_json::to_value(state.status())?,
            Err(err) => serde_json::json!({ "error": err.to_string() }),
        };
        write_half.write_all(format!("{answer}\n").as_bytes()).await?;
    }
}

fn apply(line: &str, state: &ProxyState) -> Result<()> {
    let mut words = line.split_whitespace();
    match words.next().unwrap_or_default() {
        "pass" => state.set_mode(Mode::Pass),
        "hold" => state.set_mode(Mode::Hold),
        "refuse" => {
            state.set_mode(Mode::Refuse);
            state.cut();
        }
        "cut" => state.cut(),
        "delay" => {
            let delay_ms = words.next().unwrap_or("0").parse().context("delay wants milliseconds")?;
            state.set_delay_ms(delay_ms);
        }
        "drop-commit" => {
            let count = words.next().unwrap_or("1").parse().context("drop-commit wants a number")?;
            let text = words.collect::<Vec<_>>().join(" ");
            state.arm(DropCommit { count, text: (!text.is_empty()).then_some(text) });
        }
        "status" => {}
        other => {
            bail!("unknown command `{other}`; known: pass, drop-commit, hold, cut, refuse, delay, status")
        }
    }
    Ok(())
}

/// Sends one command to a running proxy and returns its answer.
pub async fn send(address: &str, command: &str) -> Result<String> {
    let stream =
        TcpStream::connect(address).await.with_context(|| format!("no proxy control at {address}"))?;
    let (read_half, mut write_half) = stream.into_split();
    write_half.write_all(format!("{command}\n").as_bytes()).await?;
    let mut answer = String::new();
    BufReader::new(read_half).read_line(&mut answer).await?;
    Ok(answer.trim_end().to_owned())
}

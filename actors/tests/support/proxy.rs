//! A TCP proxy that loses the answer to a statement, or the statement itself, or refuses statements as TiDB does.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const COM_QUERY: u8 = 3;

/// What is to be lost next.
#[derive(Clone)]
struct Loss {
    /// Statements that begin so.
    prefix: &'static [u8],
    /// The statement arrives, its answer does not.
    only_the_answer: bool,
}

/// Tells statements from each other.
pub type Which = fn(&str) -> bool;

#[derive(Default)]
struct State {
    /// Statements that get no further.
    refused: Mutex<Option<Which>>,
    armed: Mutex<Option<Loss>>,
    lost: AtomicUsize,
}

/// Stands before a server.
pub struct Proxy {
    pub port: u16,
    state: Arc<State>,
}

impl Proxy {
    pub async fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, server, Arc::clone(&shared)));
            }
        });
        Self { port, state }
    }

    /// The next statement that begins so loses its answer, or gets lost itself; the connection with it.
    pub fn lose_next(&self, prefix: &'static str, only_the_answer: bool) {
        *self.state.armed.lock().unwrap() = Some(Loss { prefix: prefix.as_bytes(), only_the_answer });
    }

    /// From now on these statements are refused, as a server that takes one operation at a time does it.
    #[allow(dead_code, reason = "not every test binary")]
    pub fn refuse(&self, which: Which) {
        *self.state.refused.lock().unwrap() = Some(which);
    }

    /// How many were lost.
    pub fn lost(&self) -> usize {
        self.state.lost.load(Ordering::SeqCst)
    }
}

async fn serve(client: TcpStream, server: u16, state: Arc<State>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else { return };
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let (mut client_in, mut client_out) = client.into_split();
    let (mut server_in, mut server_out) = server.into_split();
    let (refusals, mut refused) = tokio::sync::mpsc::channel::<Vec<u8>>(1);
    let answers = tokio::spawn(async move {
        let mut buffer = vec![0; 1 << 16];
        loop {
            tokio::select! {
                read = server_in.read(&mut buffer) => match read {
                    Ok(len) if len > 0 && client_out.write_all(&buffer[..len]).await.is_ok() => {}
                    _ => return,
                },
                Some(packet) = refused.recv() => {
                    let _ = client_out.write_all(&packet).await;
                }
            }
        }
    });
    loop {
        let mut head = [0; 4];
        if client_in.read_exact(&mut head).await.is_err() {
            break;
        }
        let len = usize::from(head[0]) | usize::from(head[1]) << 8 | usize::from(head[2]) << 16;
        let mut body = vec![0; len];
        if client_in.read_exact(&mut body).await.is_err() {
            break;
        }
        let loss = {
            let mut armed = state.armed.lock().unwrap();
            let hit = armed
                .as_ref()
                .is_some_and(|loss| body.get(1..).is_some_and(|sql| sql.starts_with(loss.prefix)));
            if hit && body[0] == COM_QUERY { armed.take() } else { None }
        };
        if let Some(loss) = loss {
            state.lost.fetch_add(1, Ordering::SeqCst);
            // From now on the client hears nothing.
            answers.abort();
            if loss.only_the_answer {
                let _ = server_out.write_all(&head).await;
                let _ = server_out.write_all(&body).await;
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            return;
        }
        let which = *state.refused.lock().unwrap();
        let text = std::str::from_utf8(body.get(1..).unwrap_or_default()).unwrap_or_default();
        if body.first() == Some(&COM_QUERY) && which.is_some_and(|which| which(text)) {
            let mut packet = b"\xff\x08\x20#HY000Unsupported multi schema change".to_vec();
            let mut refusal = vec![u8::try_from(packet.len()).unwrap(), 0, 0, 1];
            refusal.append(&mut packet);
            let _ = refusals.send(refusal).await;
            continue;
        }
        if server_out.write_all(&head).await.is_err() || server_out.write_all(&body).await.is_err() {
            break;
        }
    }
    answers.abort();
}

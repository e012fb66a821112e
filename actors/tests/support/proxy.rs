//! A TCP proxy that loses the answer to a statement, or the statement itself.

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

#[derive(Default)]
struct State {
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
    let answers = tokio::spawn(async move {
        let _ = tokio::io::copy(&mut server_in, &mut client_out).await;
        (server_in, client_out)
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
            // From now on the client hears nothing.
            answers.abort();
            if loss.only_the_answer {
                let _ = server_out.write_all(&head).await;
                let _ = server_out.write_all(&body).await;
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            state.lost.fetch_add(1, Ordering::SeqCst);
            return;
        }
        if server_out.write_all(&head).await.is_err() || server_out.write_all(&body).await.is_err() {
            break;
        }
    }
    answers.abort();
}

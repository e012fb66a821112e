//! A TCP proxy that loses the answer to a COMMIT, or the COMMIT itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const NOTHING: u8 = 0;
const ANSWER: u8 = 1;
const COMMIT: u8 = 2;

#[derive(Default)]
struct State {
    armed: AtomicU8,
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

    /// The next COMMIT loses its answer, or gets lost itself.
    pub fn lose_next_commit(&self, only_the_answer: bool) {
        self.state.armed.store(if only_the_answer { ANSWER } else { COMMIT }, Ordering::SeqCst);
    }

    /// How many were lost.
    pub fn lost(&self) -> usize {
        self.state.lost.load(Ordering::SeqCst)
    }
}

async fn serve(client: TcpStream, server: u16, state: Arc<State>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else { return };
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
        let mut lose = NOTHING;
        if body == b"\x03COMMIT" {
            lose = state.armed.swap(NOTHING, Ordering::SeqCst);
        }
        if lose != NOTHING {
            state.lost.fetch_add(1, Ordering::SeqCst);
            // From now on the client hears nothing.
            answers.abort();
            if lose == ANSWER {
                let _ = server_out.write_all(&head).await;
                let _ = server_out.write_all(&body).await;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            return;
        }
        if server_out.write_all(&head).await.is_err() || server_out.write_all(&body).await.is_err() {
            break;
        }
    }
    answers.abort();
}

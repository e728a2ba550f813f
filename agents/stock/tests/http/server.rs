//! A server on the loopback interface that does what its client asks for.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A server that knows a few paths; `/echo` answers with the request, `/raw?TEXT` with `TEXT`,
/// decoded.
pub(crate) struct Server {
    pub(crate) port: u16,
    serving: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Server {
    pub(crate) async fn start(host: &str) -> Self {
        let listener = TcpListener::bind((host, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let serving = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(answer(stream, port));
            }
        });
        Self { port, serving }
    }
}

async fn answer(mut stream: TcpStream, port: u16) {
    let request = read(&mut stream).await;
    let path = request.split(' ').nth(1).unwrap();
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let to_by = |status: &str, place: &str| {
        format!("HTTP/1.1 {status} There\r\nlocation: {place}\r\ncontent-length: 0\r\n\r\n")
    };
    let to = |place: &str| to_by("302", place);
    let response = match path {
        "/echo" => {
            let seen = request.trim_end().to_lowercase().replace("\r\n", "\n") + "\n";
            format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{seen}", seen.len())
        }
        "/raw" => query.replace("%0D%0A", "\r\n").replace("%20", " ").replace("%22", "\""),
        "/to" => to(query),
        "/303" | "/307" | "/308" => to_by(&path[1..], query),
        "/itself" if request.starts_with("POST") => to_by("303", "/itself"),
        "/loop" => to("/loop"),
        "/bounce" => to(&format!("http://{query}:{port}/echo")),
        "/endless" => {
            let head = "HTTP/1.1 200 OK\r\n\r\n";
            stream.write_all(head.as_bytes()).await.unwrap();
            while stream.write_all(&[b'x'; 1024]).await.is_ok() {}
            return;
        }
        "/slow" => {
            let head = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nx";
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.read_to_end(&mut Vec::new()).await.ok();
            return;
        }
        "/hang-up" => return,
        _ => "HTTP/1.1 404 Not Found\r\ncontent-length: 7\r\n\r\nnothing".to_owned(),
    };
    stream.write_all(response.as_bytes()).await.ok();
    stream.shutdown().await.ok();
}

async fn read(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let mut buffer = [0; 1024];
        let read = stream.read(&mut buffer).await.unwrap();
        bytes.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let length = |head: &str| {
            let line = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            line.map_or(0, |length| length.parse::<usize>().unwrap())
        };
        match text.split_once("\r\n\r\n") {
            Some((head, body)) if body.len() >= length(head) => return text,
            _ if read == 0 => return text,
            _ => {}
        }
    }
}

//! A registry that does as it is told, also what no registry should do: HTTP over loopback, one thread a connection.
//!
//! Use it as `#[path = "common/server.rs"] mod server;`.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(dead_code, reason = "each test crate uses a part of it")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    /// The path and query; of a proxy's request without scheme and host.
    pub path: String,
    pub fields: BTreeMap<String, String>,
    pub body: String,
}

impl Seen {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub fields: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    /// What `Content-Length` says; nothing for a body that ends with the connection.
    pub length: Option<u64>,
    /// Hangs up after the body, even when more was announced.
    pub close: bool,
    /// Repeats the body until the other side has enough.
    pub endless: bool,
    /// Says nothing more after the body, until the server ends.
    pub stall: bool,
}

impl Reply {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let length = Some(body.len() as u64);
        Reply { status, fields: Vec::new(), body, length, close: false, endless: false, stall: false }
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// The same head, and only so many bytes of the body; then the connection ends.
    pub fn cut(mut self, after: usize) -> Self {
        self.body.truncate(after);
        self.close = true;
        self
    }

    /// Without `Content-Length`.
    pub fn unannounced(mut self) -> Self {
        (self.length, self.close) = (None, true);
        self
    }
}

/// A server; dropped, it answers nobody any more.
pub struct Server {
    pub address: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    stopped: Arc<AtomicBool>,
}

impl Server {
    pub fn start(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (seen, stopped) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (log, stop, answer) = (Arc::clone(&seen), Arc::clone(&stopped), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let (log, stop, answer) = (Arc::clone(&log), Arc::clone(&stop), Arc::clone(&answer));
                std::thread::spawn(move || serve(stream.unwrap(), &log, &stop, &*answer));
            }
        });
        Server { address, seen, stopped }
    }

    /// The requests until now.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The paths of the requests until now, which are forgotten.
    pub fn taken(&self) -> Vec<String> {
        self.seen.lock().unwrap().drain(..).map(|seen| seen.path).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(&self.address);
    }
}

/// Answers until the other side, or the answer, has enough. An error means that the other side is gone.
fn serve(stream: TcpStream, log: &Mutex<Vec<Seen>>, stop: &AtomicBool, answer: &dyn Fn(&Seen) -> Reply) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    while let Ok(Some(seen)) = request(&mut reader, &mut stream) {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        log.lock().unwrap().push(seen.clone());
        let reply =
            if seen.method == "CONNECT" { Reply { length: None, ..Reply::new(200, "") } } else { answer(&seen) };
        let mut head = format!("HTTP/1.1 {} Told\r\n", reply.status);
        for (name, value) in &reply.fields {
            head = head + name + ": " + value + "\r\n";
        }
        if let Some(length) = reply.length {
            head = format!("{head}Content-Length: {length}\r\n");
        }
        head += "\r\n";
        if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&reply.body)).is_err() {
            break;
        }
        while reply.endless && stream.write_all(&reply.body).is_ok() {}
        while reply.stall && !stop.load(Ordering::Relaxed) {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        if reply.close || reply.endless || reply.stall {
            break;
        }
    }
    let _ = stream.shutdown(Shutdown::Both);
}

fn request(reader: &mut BufReader<TcpStream>, stream: &mut TcpStream) -> std::io::Result<Option<Seen>> {
    // The first record of a TLS session: we do not speak it, and say so as Go's servers do.
    if reader.fill_buf()?.first() == Some(&0x16) {
        let length = reader.buffer().len();
        reader.consume(length);
        stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTPS request to an HTTP server.\n")?;
        return Ok(None);
    }
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let mut first = lines[0].split(' ');
    let (method, target) = (first.next().unwrap().to_owned(), first.next().unwrap());
    let path = match target.strip_prefix("http://") {
        Some(rest) => rest[rest.find('/').unwrap()..].to_owned(),
        None => target.to_owned(),
    };
    let pair = |line: &String| line.split_once(':').map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()));
    let fields: BTreeMap<String, String> = lines[1..].iter().filter_map(pair).collect();
    let length = fields.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(Seen { method, path, fields, body: String::from_utf8(body).unwrap() }))
}

/// A registry of one repository, `app`, as a layout has it.
#[derive(Clone)]
pub struct Layout(pub PathBuf);

impl Layout {
    /// What a registry that follows the specification answers.
    pub fn answer(&self, seen: &Seen) -> Reply {
        let path = seen.path.split('?').next().unwrap();
        if let Some(reference) = path.strip_prefix("/v2/app/manifests/") {
            return self.manifest(reference);
        }
        let Some(digest) = path.strip_prefix("/v2/app/blobs/sha256:") else { return Reply::new(404, "") };
        let Ok(bytes) = fs::read(self.0.join("blobs/sha256").join(digest)) else { return Reply::new(404, "") };
        let range = seen.field("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
        match range {
            Some(start) => {
                let said = format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len());
                Reply::new(206, &bytes[start..]).with("Content-Range", said)
            }
            None => Reply::new(200, bytes),
        }
    }

    fn manifest(&self, reference: &str) -> Reply {
        let index: Value = serde_json::from_slice(&fs::read(self.0.join("index.json")).unwrap()).unwrap();
        let known = |entry: &&Value| {
            entry["digest"] == reference || entry["annotations"]["org.opencontainers.image.ref.name"] == reference
        };
        let found = index["manifests"].as_array().unwrap().iter().find(known).cloned();
        let (digest, kind) = match found {
            Some(entry) => {
                let text = |name: &str| entry[name].as_str().unwrap().to_owned();
                (text("digest"), text("mediaType"))
            }
            None => (reference.to_owned(), "application/vnd.oci.image.manifest.v1+json".to_owned()),
        };
        let hex = digest.strip_prefix("sha256:").unwrap_or("none");
        match fs::read(self.0.join("blobs/sha256").join(hex)) {
            Ok(bytes) => Reply::new(200, bytes).with("Content-Type", kind).with("Docker-Content-Digest", digest),
            Err(_) => Reply::new(404, r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#)
                .with("Content-Type", "application/json"),
        }
    }

    /// The digests of the blobs of a kind that a manifest names.
    pub fn layers(&self, tag: &str) -> Vec<String> {
        let manifest: Value = serde_json::from_slice(&self.manifest(tag).body).unwrap();
        let digest = |layer: &Value| layer["digest"].as_str().unwrap().to_owned();
        manifest["layers"].as_array().unwrap().iter().map(digest).collect()
    }
}

/// Whether nothing of an image is in a store: no layer, nothing that is being written, no note.
pub fn is_clean(store: &Path) -> bool {
    let entries = |path: PathBuf| {
        fs::read_dir(path).map_or_else(|_| Vec::new(), |listing| listing.map(|e| e.unwrap().path()).collect())
    };
    let projections = entries(store.join("layers")).into_iter().flat_map(entries).count();
    projections == 0 && entries(store.join("staging")).is_empty() && entries(store.join("images")).is_empty()
}

//! The app of `scripts/bench/walls`: does one thing again and again, and prints the nanoseconds that each took.
//!
//! `walls WHAT MILLISECONDS`, WHAT being getppid, open or connect.

use std::fs::File;
use std::hint::black_box;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let milliseconds = words[2].parse().expect("a number of milliseconds");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 8080)).expect("listening on a port of its own");
    let address = listener.local_addr().expect("its address");
    let program = words[0].clone();
    let once: Box<dyn Fn()> = match words[1].as_str() {
        "getppid" => Box::new(|| {
            black_box(std::os::unix::process::parent_id());
        }),
        "open" => Box::new(move || drop(File::open(&program).expect("its own program"))),
        "connect" => Box::new(move || {
            let client = TcpStream::connect(address).expect("connecting to itself");
            let (server, _) = listener.accept().expect("its own connection");
            // The one that closes first waits, and that is not a port that the next connection needs.
            drop(server);
            drop(client);
        }),
        other => panic!("{other} is none of getppid, open, connect"),
    };
    let batch = if words[1] == "getppid" { 1000 } else { 20 };
    let run = |time: Duration| {
        let (begun, mut count) = (Instant::now(), 0u32);
        while begun.elapsed() < time {
            (0..batch).for_each(|_| once());
            count += batch;
        }
        begun.elapsed().as_nanos() as f64 / f64::from(count)
    };
    run(Duration::from_millis(milliseconds / 4));
    println!("{:.2}", run(Duration::from_millis(milliseconds)));
}
